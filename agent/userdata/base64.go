package userdata

import (
	"encoding/base64"
	"strings"
)

// decodeBase64 decodes with or without padding and line breaks.
func decodeBase64(body string) (string, bool) {
	packed := strings.Join(strings.Fields(body), "")
	out, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		out, err = base64.RawStdEncoding.DecodeString(packed)
	}
	return string(out), err == nil
}
