package collector

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"testing"
	"time"

	"github.com/fairlead/fairlead/collector/redact"
)

// agentLog is a log as the ECS agent writes it.
func agentLog(n int) []byte {
	r := rand.New(rand.NewSource(1))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "level=%s time=2026-11-21T%02d:%02d:36Z msg=\"Task engine [arn:aws:ecs:eu-west-1:111122223333:task/prod/%016x%016x]: handling status %d\" module=task_manager.go\n",
			[]string{"info", "info", "debug", "error"}[r.Intn(4)], r.Intn(24), r.Intn(60), r.Uint64(), r.Uint64(), r.Intn(1000))
	}
	return b.Bytes()
}

// From a log to the archive: the cost of each byte that is gathered.
func BenchmarkMember(b *testing.B) {
	text := agentLog(4 << 20)
	for b.Loop() {
		bu := &bundle{o: Options{}, began: time.Now(), redactor: redact.New(redact.Options{Key: []byte("k")}), members: map[string]bool{}, left: 1 << 40, name: "collect/i"}
		bu.archive, _ = newArchive(io.Discard, "gzip")
		if _, err := bu.write(b.Context(), &member{path: "ecs_agent_logs/ecs-agent.log", data: text}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(text)))
}
