package agent

import (
	"time"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/size"
)

// later lists the documented keys whose parts this version does not have; a version that brings a part removes its rows.
// Off is the value that asks for nothing. Where going on without the key would lose security or data, it is an error.
var later = []document.Later{
	{Path: "sources.files.max_bytes", Off: size.Bytes(0)},
	{Path: "sources.files.delete_acked", Off: false},
	{Path: "cleanup.enabled", Off: false},
	{Path: "cleanup.interval", Off: time.Duration(0)},
	{Path: "cleanup.high", Off: ""},
	{Path: "cleanup.low", Off: ""},
	{Path: "cleanup.volume_grace", Off: time.Duration(0)},
	{Path: "cleanup.protect", Off: []string(nil)},
	{Path: "cleanup.named_volumes", Off: []string(nil)},
	{Path: "cleanup.stopped_containers", Off: time.Duration(0)},
	{Path: "cleanup.images", Off: false},
	{Path: "cleanup.dry_run", Off: false},
	{Path: "health.docker_probe", Off: time.Duration(0)},
	{Path: "health.node_metrics", Off: false},
	{Path: "health.web_config", Off: "", Loss: true},
	{Path: "drain.enabled", Off: false},
	{Path: "drain.wait", Off: time.Duration(0)},
	{Path: "drain.rebalance", Off: false},
	{Path: "drain.stop_standalone", Off: false},
	{Path: "drain.hook", Off: ""},
	{Path: "drain.spill", Off: ""},
	{Path: "bundle.deadline", Off: time.Duration(0)},
}
