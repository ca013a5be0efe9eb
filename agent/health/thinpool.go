package health

import (
	"strconv"
	"strings"
)

// thinPool is the space of a devicemapper engine, in bytes. Other storage drivers tell no space of their own: theirs is the file system's.
type thinPool struct {
	found                                  bool
	dataFree, dataSize, metaFree, metaSize float64
}

// parsePool reads the driver's status in the engine's answer to info.
func parsePool(status [][2]string) (p thinPool) {
	for _, row := range status {
		var to *float64
		switch row[0] {
		case "Data Space Available":
			to = &p.dataFree
		case "Data Space Total":
			to = &p.dataSize
		case "Metadata Space Available":
			to = &p.metaFree
		case "Metadata Space Total":
			to = &p.metaSize
		default:
			continue
		}
		if v, ok := parseAmount(row[1]); ok {
			*to, p.found = v, true
		}
	}
	return p
}

// parseAmount reads what the engine writes for people: "23.33GB", "479.7 MB", "512 B". Its units are decimal, and have four digits.
func parseAmount(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	at := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if at < 1 {
		return 0, false
	}
	v, err := strconv.ParseFloat(text[:at], 64)
	if err != nil {
		return 0, false
	}
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB", "PB"} {
		if strings.EqualFold(strings.TrimSpace(text[at:]), unit) {
			return v, true
		}
		v *= 1000
	}
	return 0, false
}
