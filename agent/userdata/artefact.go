package userdata

import (
	"encoding/binary"
	"regexp"
	"strings"
	"unicode/utf16"
)

// What tools and hands leave in user data that was meant to be a plain text.

// fromUTF16 undoes UTF-16, which says so by its first character. PowerShell's > writes it.
func fromUTF16(body string) (string, bool) {
	var order binary.ByteOrder
	switch {
	case strings.HasPrefix(body, "\xff\xfe"):
		order = binary.LittleEndian
	case strings.HasPrefix(body, "\xfe\xff"):
		order = binary.BigEndian
	default:
		return "", false
	}
	var units []uint16
	for i := 2; i+1 < len(body); i += 2 {
		units = append(units, order.Uint16([]byte(body[i:])))
	}
	return string(utf16.Decode(units)), true
}

// oneLine undoes the escapes of a text that is the inside of a JSON string.
func oneLine(body string) (string, bool) {
	body = strings.TrimSpace(body)
	if strings.Contains(body, "\n") || !escapedLine.MatchString(body) {
		return "", false
	}
	if strings.HasPrefix(body, `"`) {
		body = strings.TrimSuffix(body[1:], `"`)
	}
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "", `\t`, "\t", `\"`, `"`).Replace(body), true
}

var escapedLine = regexp.MustCompile(`(?i)^"?(#!/\S+( -\w+)*|#cloud-[a-z-]+|mime-version: 1\.0)\s*(\\r)?\\n`)

// wrapped finds the text between the lines of a template: Terraform's <<-EOF, CloudFormation's Fn::Base64, a page's ```.
func wrapped(body string) (from, to int, ok bool) {
	m := wrapping.FindStringSubmatchIndex(body)
	if m == nil {
		return 0, 0, false
	}
	from, to = m[1], len(body)
	end := "```"
	if m[2] >= 0 {
		end = body[m[2]:m[3]]
	}
	rest := strings.TrimRight(body[from:], " \t\r\n")
	if i := strings.LastIndexByte(rest, '\n'); i >= 0 && strings.Trim(rest[i+1:], " \t)") == end {
		to = from + i + 1
	}
	switch formOf(body[from:to]) {
	case isOther, isJSON, isTOML:
		return 0, 0, false // a script may begin so
	}
	// Such templates indent the text and take that away again.
	return to - len(strings.TrimLeft(body[from:to], " \t\r\n")), to, true
}

var wrapping = regexp.MustCompile("(?i)^\\s*(?:(?:user_data(?:_base64)?\\s*=\\s*)?(?:base64encode\\()?<<[-~]?[\"']?(\\w+)[\"']?|```\\w*|(?:UserData:\\s*)?(?:Fn::Base64:\\s*|!Base64\\s*)(?:(?:Fn::|!)Sub:?\\s*)?[|>][-+]?)[ \\t\\r]*\\n")
