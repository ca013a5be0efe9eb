// Package secrets looks up values that AWS keeps: parameters, secrets, ciphertexts, objects. What it answers is never
// logged, and its errors do not hold it.
package secrets

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/fairlead/fairlead/internal/fault"
)

// Store looks values up with the role of the instance, or whatever else the AWS SDK finds. The zero value is ready.
type Store struct {
	once sync.Once
	cfg  aws.Config
	err  error
}

// Timeout bounds one look-up, with its retries.
const Timeout = 15 * time.Second

// maxValue bounds a value: a line of ecs.config.
const maxValue = 64 << 10

// Lookup answers the value that kind (ssm, secretsmanager, kms or s3) keeps under name.
func (s *Store) Lookup(ctx context.Context, kind, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	s.once.Do(func() {
		s.cfg, s.err = config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(3),
			config.WithEC2IMDSRegion(), config.WithEC2IMDSClientEnableState(imds.ClientDefaultEnableState))
	})
	if s.err != nil {
		return "", fmt.Errorf("find region and credentials: %w", explain(s.err))
	}
	var value string
	var err error
	switch kind {
	case "ssm":
		value, err = s.parameter(ctx, name)
	case "secretsmanager":
		value, err = s.secret(ctx, name)
	case "kms":
		value, err = s.decrypt(ctx, name)
	case "s3":
		value, err = s.object(ctx, name)
	default:
		err = fmt.Errorf("no such store, use ssm, secretsmanager, kms or s3")
	}
	if err != nil {
		return "", explain(err)
	}
	if len(value) > maxValue {
		return "", fmt.Errorf("the value has %d bytes, a setting may have %d", len(value), maxValue)
	}
	return value, nil
}

func (s *Store) parameter(ctx context.Context, name string) (string, error) {
	out, err := ssm.NewFromConfig(s.cfg).GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if err != nil {
		return "", err
	}
	if out.Parameter == nil || out.Parameter.Value == nil {
		return "", errors.New("the parameter has no value")
	}
	return *out.Parameter.Value, nil
}

func (s *Store) secret(ctx context.Context, id string) (string, error) {
	out, err := secretsmanager.NewFromConfig(s.cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
	if err != nil {
		return "", err
	}
	if out.SecretString == nil {
		return string(out.SecretBinary), nil
	}
	return *out.SecretString, nil
}

func (s *Store) decrypt(ctx context.Context, ciphertext string) (string, error) {
	blob, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(ciphertext), ""))
	if err != nil {
		return "", errors.New("the ciphertext is not base64 (as aws kms encrypt prints it)")
	}
	out, err := kms.NewFromConfig(s.cfg).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	if err != nil {
		return "", err
	}
	return string(out.Plaintext), nil
}

// explain leaves of an error of the SDK what an operator can act on.
func explain(err error) error {
	if fault.IsDenied(err) {
		return fmt.Errorf("%w (the role of the instance needs leave to read it)", fault.Plain(err))
	}
	return fault.Plain(err)
}
