package objects

import "strings"

// domains of the partitions other than the common one, by how the names of their regions begin.
var domains = map[string]string{
	"cn-":      "amazonaws.com.cn",
	"eusc-":    "amazonaws.eu",
	"us-iso-":  "c2s.ic.gov",
	"us-isob-": "sc2s.sgov.gov",
	"us-isof-": "csp.hci.ic.gov",
	"eu-isoe-": "cloud.adc-e.uk",
}

// domain is that of the services of a region.
func domain(region string) string {
	for prefix, d := range domains {
		if strings.HasPrefix(region, prefix) {
			return d
		}
	}
	return "amazonaws.com"
}
