package receiver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// Authority is a CA that lives as long as a test.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	der  []byte
}

// NewAuthority makes a CA.
func NewAuthority(name string) *Authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := template(name, time.Hour)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der := must(x509.CreateCertificate(rand.Reader, t, t, key.Public(), key))
	return &Authority{must(x509.ParseCertificate(der)), key, der}
}

// PEM is the CA's certificate.
func (a *Authority) PEM() []byte { return encodePEM("CERTIFICATE", a.der) }

// Pool is whom those believe who believe this CA alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Issue makes a certificate for the names, good for so long, and its key. With a negative time it has expired.
func (a *Authority) Issue(good time.Duration, names ...string) (cert, key []byte) {
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := template("test", good)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der := must(x509.CreateCertificate(rand.Reader, t, a.cert, k.Public(), a.key))
	return encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(k)))
}

// Server is what a receiver with a certificate for the names needs.
func (a *Authority) Server(names ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{must(tls.X509KeyPair(a.Issue(time.Hour, names...)))}}
}

func template(name string, good time.Duration) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(good), KeyUsage: x509.KeyUsageDigitalSignature}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // nothing here depends on anything that could fail
	}
	return v
}
