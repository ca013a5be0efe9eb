package userdata

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/near"
)

var tomlTable = regexp.MustCompile(`(?m)^\s*\[\s*settings(\.[A-Za-z0-9_."-]+)?\s*\]|^\s*settings\.ecs\.[a-z-]+\s*=`)

func hasTOML(head string) bool { return tomlTable.MatchString(head) }

// bottlerocket names the settings below [settings.ecs] as ecs.config does. What has no name there is handled apart.
var bottlerocket = map[string]string{
	"cluster":                        "ECS_CLUSTER",
	"instance-attributes":            "ECS_INSTANCE_ATTRIBUTES",
	"allow-privileged-containers":    "ECS_DISABLE_PRIVILEGED", // the other way round
	"logging-drivers":                "ECS_AVAILABLE_LOGGING_DRIVERS",
	"loglevel":                       "ECS_LOGLEVEL",
	"enable-spot-instance-draining":  "ECS_ENABLE_SPOT_INSTANCE_DRAINING",
	"image-pull-behavior":            "ECS_IMAGE_PULL_BEHAVIOR",
	"container-stop-timeout":         "ECS_CONTAINER_STOP_TIMEOUT",
	"task-cleanup-wait":              "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION",
	"metadata-service-rps":           "ECS_TASK_METADATA_RPS_LIMIT",
	"metadata-service-burst":         "ECS_TASK_METADATA_RPS_LIMIT",
	"reserved-memory":                "ECS_RESERVED_MEMORY",
	"image-cleanup-wait":             "ECS_IMAGE_CLEANUP_INTERVAL",
	"image-cleanup-delete-per-cycle": "ECS_NUM_IMAGES_DELETE_PER_CYCLE",
	"image-cleanup-age":              "ECS_IMAGE_MINIMUM_CLEANUP_AGE",
	"image-cleanup-enabled":          "ECS_DISABLE_IMAGE_CLEANUP", // the other way round
	"backend-host":                   "ECS_BACKEND_HOST",
	"awsvpc-block-imds":              "ECS_AWSVPC_BLOCK_IMDS",
	"enable-container-metadata":      "ECS_ENABLE_CONTAINER_METADATA",
}

// toml reads Bottlerocket's settings.
func (r *reader) toml(t text) {
	if nests(t.body) || strings.Count(t.body, ".") > 5000 {
		r.report(t.at(1, 1), document.Error, "nested too deep, not read", "")
		return
	}
	p := &unstable.Parser{}
	p.Reset([]byte(t.body))
	var list document.Settings
	var table []string
	rate, burst := "", ""
	var rateAt document.Place
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = dotted(e.Key())
		case unstable.KeyValue:
			key := append(append([]string{}, table...), dotted(e.Key())...)
			if len(key) < 3 || key[0] != "settings" || key[1] != "ecs" {
				continue
			}
			at := r.tomlPlace(t, p, e)
			name, known := bottlerocket[key[2]]
			v := tomlValue(p, e.Value(), 0)
			switch {
			case !known:
				r.report(at, document.Warning, fmt.Sprintf("settings.ecs.%s is not known", clip(key[2])), didYouMean(key[2], bottlerocket))
			case key[2] == "metadata-service-rps":
				rate, rateAt = v.Text, at
			case key[2] == "metadata-service-burst":
				burst, rateAt = v.Text, at
			case key[2] == "instance-attributes" && len(key) == 4: // [settings.ecs.instance-attributes]
				one := document.Setting{Key: key[3], Value: v, At: at}
				if n := len(list); n > 0 && list[n-1].Key == name && list[n-1].Value.Kind == document.Map {
					list[n-1].Value.Map = append(list[n-1].Value.Map, one)
					continue
				}
				list = append(list, document.Setting{Key: name, Value: document.Value{Kind: document.Map, Map: []document.Setting{one}}, At: at})
			case (key[2] == "allow-privileged-containers" || key[2] == "image-cleanup-enabled") && v.Kind == document.Bool:
				v.Text = map[string]string{"true": "false", "false": "true"}[v.Text]
				list = append(list, document.Setting{Key: name, Value: v, At: at})
			default:
				list = append(list, document.Setting{Key: name, Value: v, At: at})
			}
		}
	}
	if err := p.Error(); err != nil {
		line, column, message := 1, 1, err.Error()
		var e *unstable.ParserError
		if errors.As(err, &e) {
			message = e.Message
			if len(e.Highlight) > 0 {
				at := p.Shape(p.Range(e.Highlight)).Start
				line, column = at.Line, at.Column
			}
		}
		r.report(t.at(line, column), document.Error, "TOML: "+message+"; what comes before is read", "")
	}
	if rate != "" || burst != "" {
		list = append(list, document.Setting{Key: "ECS_TASK_METADATA_RPS_LIMIT", At: rateAt,
			Value: document.Value{Kind: document.Text, Text: orElse(rate, "40") + "," + orElse(burst, "60")}})
	}
	r.Settings = append(r.Settings, list)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func dotted(it unstable.Iterator) []string {
	var out []string
	for it.Next() {
		out = append(out, string(it.Node().Data))
	}
	return out
}

// tomlPlace is where the key of the expression stands.
func (r *reader) tomlPlace(t text, p *unstable.Parser, e *unstable.Node) document.Place {
	it := e.Key()
	if it.Next() && it.Node().Raw.Length > 0 {
		at := p.Shape(it.Node().Raw).Start
		return t.at(at.Line, at.Column)
	}
	return t.at(1, 1)
}

func tomlValue(p *unstable.Parser, n *unstable.Node, depth int) document.Value {
	v := document.Value{Kind: document.Text, Text: string(n.Data)}
	if depth > 50 {
		return v
	}
	switch n.Kind {
	case unstable.Bool:
		v.Kind = document.Bool
	case unstable.Integer, unstable.Float:
		v.Kind, v.Text = document.Number, strings.ReplaceAll(v.Text, "_", "")
	case unstable.Array:
		v = document.Value{Kind: document.List}
		for it := n.Children(); it.Next(); {
			v.List = append(v.List, tomlValue(p, it.Node(), depth+1))
		}
	case unstable.InlineTable:
		v = document.Value{Kind: document.Map}
		for it := n.Children(); it.Next(); {
			kv := it.Node()
			v.Map = append(v.Map, document.Setting{Key: strings.Join(dotted(kv.Key()), "."), Value: tomlValue(p, kv.Value(), depth+1)})
		}
	}
	return v
}

func didYouMean(word string, known map[string]string) string {
	var names []string
	for k := range known {
		names = append(names, k)
	}
	if like := near.Word(word, names); like != "" {
		return fmt.Sprintf("did you mean %q?", like)
	}
	return ""
}
