package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/plog"
)

// tagKey is the attribute in which the receiver keeps the tag of the message.
const tagKey = "fluent.tag"

// record is one log record as it is written. The receiver makes the value of `log` (or `message`) the body and everything else an
// attribute.
type record struct {
	Tag     string         `json:"tag"`
	Time    int64          `json:"time"` // Unix nanoseconds
	Log     string         `json:"log"`
	Fields  map[string]any `json:"fields,omitempty"`
	Invalid bool           `json:"invalid,omitempty"` // log was not UTF-8: the JSON shows U+FFFD where it was not
}

// output appends records to a file. The receiver calls consume from one goroutine.
type output struct {
	file *os.File
	buf  bytes.Buffer
}

func openOutput(name string) (*output, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	o := &output{file: file}
	// A predecessor that was killed inside its last write leaves a torn line, which must not eat the first one of ours. It was never
	// acknowledged, so it comes again.
	last := make([]byte, 1)
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		if _, err := file.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			if _, err := file.WriteString("\n"); err != nil {
				return nil, fmt.Errorf("end the torn line of %s: %w", name, err)
			}
		}
	}
	return o, nil
}

// consume writes all records of a batch in one write. The receiver acknowledges after it returns.
func (o *output) consume(_ context.Context, logs plog.Logs) error {
	o.buf.Reset()
	enc := json.NewEncoder(&o.buf)
	enc.SetEscapeHTML(false)
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, lr := range scope.LogRecords().All() {
				if err := enc.Encode(newRecord(lr)); err != nil {
					return fmt.Errorf("encode a record: %w", err)
				}
			}
		}
	}
	_, err := o.file.Write(o.buf.Bytes())
	return err
}

func newRecord(lr plog.LogRecord) record {
	fields := lr.Attributes().AsRaw()
	tag, _ := fields[tagKey].(string)
	delete(fields, tagKey)
	text := lr.Body().AsString()
	return record{Tag: tag, Time: int64(lr.Timestamp()), Log: text, Fields: fields, Invalid: !utf8.ValidString(text)}
}

func (o *output) Close() error { return o.file.Close() }
