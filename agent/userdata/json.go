package userdata

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/document"
)

// agentFields names the fields of the ECS agent's configuration structure as ecs.config does. The agent reads user data
// that is JSON as a whole, {"ECSAgentConfiguration":{...}}, after its environment and before its defaults.
var agentFields = map[string]string{
	"Cluster": "ECS_CLUSTER", "APIEndpoint": "ECS_BACKEND_HOST", "DockerEndpoint": "DOCKER_HOST", "AWSRegion": "AWS_DEFAULT_REGION",
	"ReservedPorts": "ECS_RESERVED_PORTS", "ReservedPortsUDP": "ECS_RESERVED_PORTS_UDP", "DataDir": "ECS_DATADIR", "DataDirOnHost": "ECS_HOST_DATA_DIR",
	"Checkpoint": "ECS_CHECKPOINT", "EngineAuthType": "ECS_ENGINE_AUTH_TYPE", "EngineAuthData": "ECS_ENGINE_AUTH_DATA",
	"UpdatesEnabled": "ECS_UPDATES_ENABLED", "UpdateDownloadDir": "ECS_UPDATE_DOWNLOAD_DIR", "DisableMetrics": "ECS_DISABLE_METRICS",
	"PollMetrics": "ECS_POLL_METRICS", "PollingMetricsWaitDuration": "ECS_POLLING_METRICS_WAIT_DURATION",
	"DisableDockerHealthCheck": "ECS_DISABLE_DOCKER_HEALTH_CHECK", "ReservedMemory": "ECS_RESERVED_MEMORY", "DockerStopTimeout": "ECS_CONTAINER_STOP_TIMEOUT",
	"ContainerStartTimeout": "ECS_CONTAINER_START_TIMEOUT", "ContainerCreateTimeout": "ECS_CONTAINER_CREATE_TIMEOUT", "ManifestPullTimeout": "ECS_MANIFEST_PULL_TIMEOUT",
	"DependentContainersPullUpfront": "ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT", "ImagePullInactivityTimeout": "ECS_IMAGE_PULL_INACTIVITY_TIMEOUT",
	"ImagePullTimeout": "ECS_IMAGE_PULL_TIMEOUT", "AvailableLoggingDrivers": "ECS_AVAILABLE_LOGGING_DRIVERS", "PrivilegedDisabled": "ECS_DISABLE_PRIVILEGED",
	"SELinuxCapable": "ECS_SELINUX_CAPABLE", "AppArmorCapable": "ECS_APPARMOR_CAPABLE", "TaskCleanupWaitDuration": "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION",
	"TaskCleanupWaitDurationJitter": "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER", "TaskIAMRoleEnabled": "ECS_ENABLE_TASK_IAM_ROLE",
	"TaskIAMRoleEnabledForNetworkHost": "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST", "DeleteNonECSImagesEnabled": "ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP",
	"TaskCPUMemLimit": "ECS_ENABLE_TASK_CPU_MEM_LIMIT", "CredentialsAuditLogFile": "ECS_AUDIT_LOGFILE", "CredentialsAuditLogDisabled": "ECS_AUDIT_LOGFILE_DISABLED",
	"TaskENIEnabled": "ECS_ENABLE_TASK_ENI", "ENITrunkingEnabled": "ECS_ENABLE_HIGH_DENSITY_ENI", "ImageCleanupDisabled": "ECS_DISABLE_IMAGE_CLEANUP",
	"MinimumImageDeletionAge": "ECS_IMAGE_MINIMUM_CLEANUP_AGE", "NonECSMinimumImageDeletionAge": "NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE",
	"ImageCleanupInterval": "ECS_IMAGE_CLEANUP_INTERVAL", "NumImagesToDeletePerCycle": "ECS_NUM_IMAGES_DELETE_PER_CYCLE",
	"NumNonECSContainersToDeletePerCycle": "NONECS_NUM_CONTAINERS_DELETE_PER_CYCLE", "ImagePullBehavior": "ECS_IMAGE_PULL_BEHAVIOR",
	"InstanceAttributes": "ECS_INSTANCE_ATTRIBUTES", "CNIPluginsPath": "ECS_CNI_PLUGINS_PATH", "PrometheusMetricsEnabled": "ECS_ENABLE_PROMETHEUS_METRICS",
	"AWSVPCBlockInstanceMetdata": "ECS_AWSVPC_BLOCK_IMDS", "AWSVPCAdditionalLocalRoutes": "ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES",
	"ContainerMetadataEnabled": "ECS_ENABLE_CONTAINER_METADATA", "OverrideAWSLogsExecutionRole": "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE",
	"CgroupPath": "ECS_CGROUP_PATH", "SharedVolumeMatchFullConfig": "ECS_SHARED_VOLUME_MATCH_FULL_CONFIG",
	"ContainerInstancePropagateTagsFrom": "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM", "ContainerInstanceTags": "ECS_CONTAINER_INSTANCE_TAGS",
	"GPUSupportEnabled": "ECS_ENABLE_GPU_SUPPORT", "InferentiaSupportEnabled": "ECS_ENABLE_INF_SUPPORT", "ImageCleanupExclusionList": "ECS_EXCLUDE_UNTRACKED_IMAGE",
	"NvidiaRuntime": "ECS_NVIDIA_RUNTIME", "TaskMetadataAZDisabled": "ECS_DISABLE_TASK_METADATA_AZ", "CgroupCPUPeriod": "ECS_CGROUP_CPU_PERIOD",
	"SpotInstanceDrainingEnabled": "ECS_ENABLE_SPOT_INSTANCE_DRAINING", "GMSACapable": "ECS_GMSA_SUPPORTED", "VolumePluginCapabilities": "ECS_VOLUME_PLUGIN_CAPABILITIES",
	"External": "ECS_EXTERNAL", "EnableRuntimeStats": "ECS_ENABLE_RUNTIME_STATS", "ShouldExcludeIPv6PortBinding": "ECS_EXCLUDE_IPV6_PORTBINDING",
	"WarmPoolsSupport": "ECS_WARM_POOLS_CHECK", "DynamicHostPortRange": "ECS_DYNAMIC_HOST_PORT_RANGE", "TaskPidsLimit": "ECS_TASK_PIDS_LIMIT",
	"FirelensAsyncEnabled": "ECS_ENABLE_FIRELENS_ASYNC", "EBSTASupportEnabled": "ECS_EBSTA_SUPPORTED",
}

// durations are kept as whole nanoseconds in that structure.
func isDuration(key string) bool {
	return strings.Contains(key, "_TIMEOUT") || strings.Contains(key, "_DURATION") || strings.Contains(key, "CLEANUP_AGE") || strings.HasSuffix(key, "CLEANUP_INTERVAL") || strings.HasSuffix(key, "CPU_PERIOD")
}

// agentJSON reads {"ECSAgentConfiguration":{...}}.
func (r *reader) agentJSON(t text) {
	d := json.NewDecoder(strings.NewReader(t.body))
	d.UseNumber()
	p := &jsonReader{d: d, t: t}
	v, err := p.value(0)
	if err == nil && v.Kind == document.Map {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("text after the document")
		}
	}
	if err != nil {
		line, column := lineColumn(t.body, int(d.InputOffset()))
		r.report(t.at(line, column), document.Error, "not JSON: "+strings.TrimPrefix(err.Error(), "json: ")+": neither cloud-init nor the agent reads it", "")
		return
	}
	found := false
	for _, top := range v.Map {
		if !strings.EqualFold(top.Key, "ECSAgentConfiguration") || top.Value.Kind != document.Map {
			continue
		}
		found = true
		var list document.Settings
		for _, s := range top.Value.Map {
			key, known := agentField(s.Key)
			if !known {
				r.report(s.At, document.Warning, fmt.Sprintf("ECSAgentConfiguration.%s is not known", clip(s.Key)), didYouMean(s.Key, agentFields))
				continue
			}
			s.Key = key
			if n, err := strconv.ParseInt(s.Value.Text, 10, 64); err == nil && s.Value.Kind == document.Number && isDuration(key) {
				s.Value = document.Value{Kind: document.Text, Text: time.Duration(n).String()}
			}
			list = append(list, s)
		}
		r.Settings = append(r.Settings, list)
	}
	if !found {
		r.report(t.at(1, 1), document.Warning, "JSON without ECSAgentConfiguration: nobody reads it", `write: {"ECSAgentConfiguration":{"Cluster":"NAME"}}`)
	}
}

// agentField finds a field as Go's decoder does: the case of its letters does not matter. Names of variables pass too.
func agentField(name string) (string, bool) {
	if key, ok := agentFields[name]; ok {
		return key, true
	}
	for field, key := range agentFields {
		if strings.EqualFold(field, name) {
			return key, true
		}
	}
	return "", false
}

// jsonReader decodes JSON with places.
type jsonReader struct {
	d *json.Decoder
	t text
}

func (p *jsonReader) value(depth int) (v document.Value, err error) {
	if depth > 100 {
		return v, errors.New("nested too deep")
	}
	tok, err := p.d.Token()
	if err != nil {
		return v, err
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '[' {
			v.Kind = document.List
			for p.d.More() {
				one, err := p.value(depth + 1)
				if err != nil {
					return v, err
				}
				v.List = append(v.List, one)
			}
		} else {
			v.Kind = document.Map
			for p.d.More() {
				key, err := p.d.Token()
				if err != nil {
					return v, err
				}
				name, _ := key.(string)
				quoted, _ := json.Marshal(name)
				line, column := lineColumn(p.t.body, max(0, int(p.d.InputOffset())-len(quoted)))
				one, err := p.value(depth + 1)
				if err != nil {
					return v, err
				}
				if one.Kind != "" { // null
					v.Map = append(v.Map, document.Setting{Key: name, Value: one, At: p.t.at(line, column)})
				}
			}
		}
		_, err = p.d.Token()
		return v, err
	case string:
		return document.Value{Kind: document.Text, Text: tok}, nil
	case json.Number:
		return document.Value{Kind: document.Number, Text: tok.String()}, nil
	case bool:
		return document.Value{Kind: document.Bool, Text: strconv.FormatBool(tok)}, nil
	}
	return v, nil
}

func lineColumn(body string, offset int) (line, column int) {
	offset = min(offset, len(body))
	line = 1 + strings.Count(body[:offset], "\n")
	return line, offset - strings.LastIndexByte(body[:offset], '\n')
}
