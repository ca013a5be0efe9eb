package parse

import "bytes"

// auditColumns are those behind the user agent.
var auditColumns = [...]string{"ecs_task_arn", "event", "version", "ecs_cluster", "container_instance_arn"}

// Audit reads a line of the ECS agent's audit.log:
//
//	2026-11-21T09:15:36Z 200 172.17.0.4:41562 "/v2/credentials" "aws-cli/2" arn:... GetCredentials 2 prod arn:...
//
// The user agent is not escaped: it may hold blanks and quotes, and reaches to the last quote of the line. Columns after it may
// be missing from the right.
func Audit(line []byte, h *Host) bool {
	h.reset()
	stamp, rest, ok := cutBlank(bytes.TrimRight(line, "\r\n"))
	if !ok || len(stamp) < 20 {
		return false
	}
	if h.Time, ok = Time(stamp); !ok {
		return h.refuse()
	}
	status, rest, ok := cutBlank(rest)
	if !ok || len(status) != 3 || num(status) < 0 {
		return h.refuse()
	}
	remote, rest, ok := cutBlank(rest)
	if !ok || len(rest) < 2 || rest[0] != '"' {
		return h.refuse()
	}
	path, rest, ok := bytes.Cut(rest[1:], []byte(`" "`))
	end := bytes.LastIndex(rest, []byte(`" `))
	if !ok || end < 0 {
		return h.refuse()
	}
	columns := bytes.Fields(rest[end+2:])
	if len(columns) > len(auditColumns) {
		return h.refuse()
	}
	h.column("status", status)
	h.column("remote_addr", remote)
	h.column("path", path)
	h.column("user_agent", rest[:end])
	for i, c := range columns {
		h.column(auditColumns[i], c)
	}
	return true
}
