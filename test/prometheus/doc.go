// Package prometheus tests what packaging/prometheus holds with Debian's own Prometheus and promtool: the rules by their unit tests and by
// real faults, the dashboards by asking what they ask.
package prometheus
