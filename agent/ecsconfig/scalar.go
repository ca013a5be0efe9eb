package ecsconfig

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/near"
)

var (
	trueWords  = []string{"1", "t", "T", "TRUE", "true", "True"}
	falseWords = []string{"0", "f", "F", "FALSE", "false", "False"}
	// literal are the keys of which ecs-init takes only the word true.
	literal = []string{"ECS_EXTERNAL", "ECS_ENABLE_GPU_SUPPORT", "ECS_GMSA_SUPPORTED", "ECS_AGENT_RUN_PRIVILEGED"}
)

func (k Key) boolean(v *verdict) {
	yes, no := slices.Contains(trueWords, v.value), slices.Contains(falseWords, v.value)
	switch {
	case !yes && !no:
		fix := "write true or false"
		switch strings.ToLower(v.value) {
		case "yes", "on", "y", "enabled", "enable", "true":
			fix = "write " + k.Name + "=true"
		case "no", "off", "n", "disabled", "disable", "false":
			fix = "write " + k.Name + "=false"
		}
		v.say(document.Warning, fix, "%s: %s is neither true nor false to the agent, which uses its default: %s", k.Name, k.shown(v.value), k.otherwise())
	case yes && v.value != "true" && slices.Contains(literal, k.Name):
		v.say(document.Warning, "write "+k.Name+"=true", "%s: ecs-init takes only the word true, so it and the agent disagree", k.Name)
	}
}

var barePeriod = regexp.MustCompile(`^([0-9]+)\s*([A-Za-z]*)$`)

// nearPeriod is what a duration may have been meant to be.
func nearPeriod(text string) string {
	m := barePeriod.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n > 1e6 {
		return ""
	}
	switch strings.ToLower(m[2]) {
	case "", "s", "sec", "secs", "second", "seconds":
		return m[1] + "s"
	case "m", "min", "mins", "minute", "minutes":
		return m[1] + "m"
	case "h", "hr", "hrs", "hour", "hours":
		return m[1] + "h"
	case "d", "day", "days":
		return strconv.Itoa(24*n) + "h"
	case "w", "week", "weeks":
		return strconv.Itoa(7*24*n) + "h"
	case "ms":
		return m[1] + "ms"
	}
	return ""
}

func (k Key) duration(v *verdict) {
	d, err := time.ParseDuration(v.value)
	switch low, high := k.bound(k.Min), k.bound(k.Max); {
	case err != nil:
		fix := "write a number with its unit, as 30s, 10m or 3h"
		if near := nearPeriod(v.value); near != "" {
			fix = "write " + k.Name + "=" + near
		}
		v.say(document.Warning, fix, "%s: %s is not a duration to the agent, which uses its default: %s", k.Name, k.shown(v.value), k.otherwise())
	case d == 0 && k.otherwise() != "0s":
		fix := ""
		if strings.HasSuffix(k.Name, "CLEANUP_AGE") {
			fix = "write " + k.Name + "=1ns"
		}
		v.say(document.Warning, fix, "%s: zero counts as not set, the agent uses its default: %s", k.Name, k.otherwise())
	case d < 0 && strings.HasSuffix(k.Name, "_JITTER"):
		v.leave = true
		v.say(document.Error, "write "+k.Name+"="+strings.TrimPrefix(v.value, "-"), "%s: with a negative one the agent panics when it cleans up its first task; left out", k.Name)
	case low != 0 && d < low:
		v.say(document.Warning, fmt.Sprintf("write at least %s", bare(k.Min)), "%s: %s is below the minimum: the agent uses %s", k.Name, k.shown(v.value), k.instead(k.BelowMin, k.Min))
	case high != 0 && d > high:
		v.say(document.Warning, fmt.Sprintf("write at most %s", bare(k.Max)), "%s: %s is above the maximum: the agent uses %s", k.Name, k.shown(v.value), k.instead(k.AboveMax, k.Max))
	case d < 0:
		v.say(document.Warning, "", "%s: %s is negative", k.Name, k.shown(v.value))
	}
}

func (k Key) bound(raw json.RawMessage) time.Duration {
	d, err := time.ParseDuration(bare(raw))
	if err != nil {
		return 0
	}
	return d
}

func bare(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }

// instead says what the agent takes for a value that is out of bounds.
func (k Key) instead(how string, bound json.RawMessage) string {
	switch {
	case strings.HasPrefix(how, "min"), strings.HasPrefix(how, "max"):
		return bare(bound) + " instead"
	case strings.HasPrefix(how, "unset"):
		return "no limit at all"
	}
	return "its default instead: " + k.otherwise()
}

func (k Key) integer(v *verdict) {
	n, err := strconv.ParseInt(v.value, 10, 64)
	low, lowErr := strconv.ParseInt(bare(k.Min), 10, 64)
	high, highErr := strconv.ParseInt(bare(k.Max), 10, 64)
	switch {
	case err != nil || k.Type == "uint16" && (n < 0 || n > 65535 || strings.HasPrefix(v.value, "+")):
		v.say(document.Warning, "write a whole number"+k.between(), "%s: %s is not such a number to the agent, which uses its default: %s", k.Name, k.shown(v.value), k.otherwise())
	case n == 0 && k.Zero != "":
		v.say(document.Warning, "", "%s: zero counts as not set, the agent uses its default: %s", k.Name, k.otherwise())
	case lowErr == nil && n < low:
		v.say(document.Warning, "write a whole number"+k.between(), "%s: %s is below the minimum: the agent uses %s", k.Name, k.shown(v.value), k.instead(k.BelowMin, k.Min))
	case highErr == nil && n > high:
		v.say(document.Warning, "write a whole number"+k.between(), "%s: %s is above the maximum: the agent uses %s", k.Name, k.shown(v.value), k.instead(k.AboveMax, k.Max))
	}
}

func (k Key) between() string {
	switch {
	case k.Min != nil && k.Max != nil:
		return fmt.Sprintf(" from %s to %s", bare(k.Min), bare(k.Max))
	case k.Min != nil:
		return fmt.Sprintf(" of at least %s", bare(k.Min))
	}
	return ""
}

func (k Key) float(v *verdict) {
	if n, err := strconv.ParseFloat(v.value, 64); err != nil || n <= 0 {
		v.say(document.Warning, "write a number, in megabytes", "%s: %s is no size to the agent, which uses its default: %s", k.Name, k.shown(v.value), k.otherwise())
	}
}

func (k Key) enum(v *verdict) {
	folds := k.CaseSensitive != nil && !*k.CaseSensitive
	for _, one := range k.Values {
		if v.value == one || folds && strings.EqualFold(v.value, one) {
			return
		}
	}
	fix := "write one of " + strings.Join(k.Values, ", ")
	if like := near.Word(v.value, k.Values); like != "" {
		fix = "write " + k.Name + "=" + like
	}
	severity, effect := document.Warning, "the agent uses its default: "+k.otherwise()
	switch k.Name {
	case "ECS_LOG_OUTPUT_FORMAT":
		severity, effect = document.Error, "the agent's logging does not start and its log file is never written"
	case "ECS_LOG_ROLLOVER_TYPE":
		effect = "the agent takes it for hourly"
	case "ECS_ENGINE_AUTH_TYPE":
		effect = "the agent does not use ECS_ENGINE_AUTH_DATA"
	}
	v.say(severity, fix, "%s: %s is not one of its values: %s", k.Name, k.shown(v.value), effect)
}

func (k Key) pair(v *verdict) {
	one, two, ok := strings.Cut(v.value, ",")
	rate, err1 := strconv.Atoi(strings.TrimSpace(one))
	burst, err2 := strconv.Atoi(strings.TrimSpace(two))
	if !ok || err1 != nil || err2 != nil || rate <= 0 || burst <= 0 {
		v.say(document.Warning, "write "+k.Name+"=40,60", "%s: %s is not rate,burst, both above 0: the agent uses its default: %s", k.Name, k.shown(v.value), k.otherwise())
	}
}

func (k Key) ports(v *verdict) {
	one, two, ok := strings.Cut(v.value, "-")
	low, err1 := strconv.Atoi(one)
	high, err2 := strconv.Atoi(two)
	if !ok || err1 != nil || err2 != nil || low < 1 || high > 65535 || low >= high {
		v.say(document.Warning, "write "+k.Name+"=32768-60999", "%s: %s is not a range of ports: the agent uses its default: %s", k.Name, k.shown(v.value), k.otherwise())
	}
}
