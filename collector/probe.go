package collector

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/collector/findings"
	"github.com/fairlead/fairlead/internal/instance"
)

// services of a region that a container instance talks to.
var services = []string{"ecs", "ecs-a-1", "ecs-t-1", "api.ecr", "logs", "sts", "s3", "ssm"}

// region is this instance's, as far as its files, its environment or EC2 tell.
func (h *host) region(ctx context.Context) string {
	text, _ := readFile(ctx, h.path("/etc/ecs/ecs.config"), smallText)
	for l := range bytes.Lines(text) {
		if v, ok := bytes.CutPrefix(bytes.TrimSpace(l), []byte("AWS_DEFAULT_REGION=")); ok {
			return strings.Trim(string(v), `"' `)
		}
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	if h.o.Root != "/" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	v, _ := instance.NewIMDS().Metadata(ctx, "placement/region")
	return strings.TrimSpace(v)
}

// endpoints tries how far the services of AWS can be reached, and how long each step takes.
func (h *host) endpoints(ctx context.Context, sh *sheet) error {
	region := h.region(ctx)
	if region == "" || strings.ContainsAny(region, "/:@ ") {
		return fmt.Errorf("%w: the region is not known", errAbsent)
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	probes := make([]findings.Probe, len(services))
	var asked sync.WaitGroup
	for i, s := range services {
		asked.Go(func() { probes[i] = probe(ctx, s+"."+region+"."+domain) })
	}
	asked.Wait()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-45s %9s %9s %9s %s\n", "ENDPOINT", "DNS", "CONNECT", "TLS", "RESULT")
	for _, p := range probes {
		result := "reachable"
		if p.Error != "" {
			result = p.Error
		}
		fmt.Fprintf(&b, "%-45s %9s %9s %9s %s\n", p.Name, ms(p.DNS), ms(p.Connect), ms(p.TLS), result)
	}
	sh.text("network/endpoints.txt", b.Bytes())
	sh.fact(func(f *facts) {
		f.Endpoints = probes
		for _, p := range probes {
			if p.HasOffset && !f.Clock.HasOffset {
				f.Clock.HasOffset, f.Clock.Offset, f.Clock.From = true, p.Offset, p.Name
			}
		}
	})
	return nil
}

func ms(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}

// probe resolves, connects, shakes hands and asks for the time.
func probe(ctx context.Context, name string) findings.Probe {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	p := findings.Probe{Name: name}
	fail := func(step string, err error) findings.Probe {
		p.Error = step + ": " + plain(err)
		return p
	}
	at := time.Now()
	ips, err := net.DefaultResolver.LookupHost(ctx, name)
	p.DNS = time.Since(at)
	if err != nil {
		return fail("resolve", err)
	}
	at = time.Now()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ips[0], "443"))
	p.Connect = time.Since(at)
	if err != nil {
		return fail("connect to "+ips[0], err)
	}
	defer c.Close()
	at = time.Now()
	t := tls.Client(c, &tls.Config{ServerName: name})
	err = t.HandshakeContext(ctx)
	p.TLS = time.Since(at)
	if err != nil {
		return fail("TLS", err)
	}
	if d, ok := ctx.Deadline(); ok {
		_ = t.SetDeadline(d)
	}
	sent := time.Now()
	if _, err := fmt.Fprintf(t, "HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name); err != nil {
		return fail("ask", err)
	}
	head, err := io.ReadAll(io.LimitReader(t, 8<<10))
	if i := bytes.Index(head, []byte("\r\nDate: ")); i >= 0 {
		line, _, _ := bytes.Cut(head[i+8:], []byte("\r\n"))
		if then, err := http.ParseTime(string(line)); err == nil {
			middle := sent.Add(time.Since(sent) / 2)
			p.HasOffset, p.Offset = true, middle.Sub(then.Add(500*time.Millisecond)) // the header has whole seconds
		}
	}
	if len(head) == 0 && err != nil {
		return fail("answer", err)
	}
	return p
}

// plain is an error without the addresses that stand in front of it.
func plain(err error) string {
	if isTimeout(err) {
		return "no answer in time"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// metadataItems of EC2. The credentials of the role are not among them, only its name.
var metadataItems = []string{"instance-id", "instance-type", "ami-id", "placement/availability-zone", "placement/region", "local-ipv4", "local-hostname", "mac", "instance-life-cycle",
	"iam/info", "spot/instance-action", "events/maintenance/scheduled", "autoscaling/target-lifecycle-state", "services/domain"}

// metadata asks EC2's metadata service, with times.
func (h *host) metadata(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" {
		return errAbsent
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	imds := instance.NewIMDS()
	var b bytes.Buffer
	at := time.Now()
	first, err := imds.Metadata(ctx, metadataItems[0])
	took := time.Since(at)
	off := errors.Is(err, instance.ErrOff)
	sh.fact(func(f *facts) {
		f.IMDS = findings.Probe{Name: "the metadata service", Connect: took}
		if err != nil && !off {
			f.IMDS.Error = err.Error()
		}
		f.IMDSAsked = !off
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "%-40s %9s %s\n", metadataItems[0], ms(took), first)
	for _, item := range metadataItems[1:] {
		at := time.Now()
		v, err := imds.Metadata(ctx, item)
		if err != nil {
			v = "(" + err.Error() + ")"
		}
		fmt.Fprintf(&b, "%-40s %9s %s\n", item, ms(time.Since(at)), strings.ReplaceAll(strings.TrimSpace(v), "\n", " "))
		if item == "iam/info" {
			sh.fact(func(f *facts) { f.RoleInfo = v })
		}
	}
	sh.text("network/metadata-service.txt", b.Bytes())
	return nil
}

// names takes the resolver's configuration and how long names take.
func (h *host) names(ctx context.Context, sh *sheet) error {
	h.small(ctx, sh, "network/resolv.conf", "/etc/resolv.conf", asText)
	h.small(ctx, sh, "network/hosts", "/etc/hosts", asText)
	h.small(ctx, sh, "network/nsswitch.conf", "/etc/nsswitch.conf", asText)
	return nil
}
