package cleanup

import (
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	if err := DefaultConfig().Doubts(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"interval", func(c *Config) { c.Interval = 0 }, "cleanup.interval: 0s is too short"},
		{"high", func(c *Config) { c.High = 0 }, "cleanup.high: 0% is no mark"},
		{"low above high", func(c *Config) { c.Low = 90 }, "cleanup.low: must be"},
		{"grace", func(c *Config) { c.VolumeGrace = 0 }, "cleanup.volume_grace: 0s is too short"},
		{"pressure grace", func(c *Config) { c.Pressure.VolumeGrace = time.Millisecond }, "cleanup.pressure.volume_grace: 1ms is too short"},
		{"most", func(c *Config) { c.Pressure.Most = 0 }, "cleanup.pressure.most: 0 is too small"},
		{"keep failed", func(c *Config) { c.Pressure.KeepFailed = 0 }, "cleanup.pressure.keep_failed: 0 is too small"},
		{"steps", func(c *Config) { c.Pressure.Steps = []string{"volume"} }, `cleanup.pressure.steps: "volume" is no step`},
		{"glob", func(c *Config) { c.Protect = []string{"a", "[z"} }, `cleanup.protect[1]: "[z"`},
		{"named", func(c *Config) { c.NamedVolumes = []string{`x\`} }, "cleanup.named_volumes[0]"},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		err := cfg.Validate()
		want := c.want
		if c.name == "low above high" {
			want = "cleanup.low: 90% must be above 0% and not above cleanup.high (80%)"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", c.name, err, want)
		}
	}
	doubtful := DefaultConfig()
	doubtful.VolumeGrace, doubtful.NamedVolumes = time.Minute, []string{"*"}
	if err := doubtful.Doubts(); err == nil || !strings.Contains(err.Error(), "cleanup.volume_grace") || !strings.Contains(err.Error(), "cleanup.named_volumes") {
		t.Errorf("doubts: %v", err)
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]float64{"80%": 80, " 7.5 % ": 7.5, "0%": 0, "100%": 100, "80": -1, "-1%": -1, "101%": -1, "%": -1, "NaN%": -1} {
		var p Percent
		err := p.UnmarshalText([]byte(text))
		if (err != nil) != (want < 0) || err == nil && float64(p) != want {
			t.Errorf("%q is %v, %v", text, p, err)
		}
		if err != nil {
			continue
		}
		var again Percent
		if b, err := p.MarshalText(); err != nil || again.UnmarshalText(b) != nil || again != p {
			t.Errorf("%v is written as %q", p, b)
		}
	}
}

func FuzzDecimal(f *testing.F) {
	for _, text := range []string{"23.33GB", "479.7MB", "512 B", "0B", "1e9GB", "-1 B", "GB", "1.2.3kB", "9999999PB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := decimal(text)
		if n < 0 || !ok && n != 0 {
			t.Errorf("%q is %d, %v", text, n, ok)
		}
	})
}

func TestThinPool(t *testing.T) {
	status := [][2]string{{"Pool Name", "docker-202:1-pool"}, {"Data Space Used", "20.5GB"}, {"Data Space Total", "23.33GB"}, {"Data Space Available", "2.83 GB"},
		{"Metadata Space Used", "5MB"}, {"Metadata Space Total", "25.17MB"}, {"Thin Pool Minimum Free Space", "2.333GB"}}
	p := thinPool("devicemapper", status)
	if p == nil || p.FreeBytes != 497000000 || p.Bytes != 20997000000 || p.Inodes != 25170000 || p.FreeInodes != 20170000 || p.Used() < 0.97 {
		t.Errorf("%+v", p)
	}
	if p := thinPool("overlay2", status); p != nil {
		t.Errorf("overlay2 has the pool %+v", p)
	}
	if p := thinPool("devicemapper", nil); p != nil {
		t.Errorf("a pool of nothing: %+v", p)
	}
}

func TestExitCode(t *testing.T) {
	for status, want := range map[string]int{"Exited (0) 5 minutes ago": 0, "Exited (137) 2 hours ago": 137, "Up 3 minutes": 0, "Created": 0, "Exited (": 0, "Dead": 0, "Exited (99999999999999999999)": 9999999} {
		if got := exitCode(status); got != want {
			t.Errorf("%q is %d, want %d", status, got, want)
		}
	}
}
