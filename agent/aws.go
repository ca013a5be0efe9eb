package agent

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// awsConfig finds the region and the role of this instance, or whatever else the AWS SDK finds.
func awsConfig(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithEC2IMDSRegion(), config.WithEC2IMDSClientEnableState(imds.ClientDefaultEnableState))
	if err != nil {
		return cfg, fmt.Errorf("find region and credentials: %w (set AWS_REGION, or let the metadata service be reached)", err)
	}
	return cfg, nil
}
