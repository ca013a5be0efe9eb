package test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// Docker's rotation at 20 kB a file, the smallest the tests take. The promise is about what still stands in a log file, and here
// the engine deletes fast: a container keeps max-file x 20 kB, so the rate times the longest time in which fairlead does not
// read must stay well below. A line of 300 bytes is about 400 in the json-file, so that the rate on disk is up to 1.5 x the rate of the
// writer, on each of two streams.
//
//   - While fairlead runs it is told of new files at once, but on a loaded machine of two cores it may have to wait for its turn. All
//     rates leave it half a second: 300 kB (max-file=15) bear 500 kB/s on disk, 100 kB (max-file=5) bear 2 x 60 kB/s.
//   - While it is killed and started again up to 2 s may pass: 1 MB (max-file=50) bears 2 x 60 kB/s for five.
func rotate(maxFile int, more ...string) map[string]string {
	options := map[string]string{"max-size": "20k", "max-file": fmt.Sprint(maxFile)}
	for i := 0; i < len(more); i += 2 {
		options[more[i]] = more[i+1]
	}
	return options
}

// fourContainers are one of each layout, rotated in the ways that bear a reader that is away for seconds. They write until stopped.
func fourContainers(r *rig) []*container {
	return []*container{
		r.launch("one", writerOptions{out: script.TagsOneCall, err: script.Bare, rate: 40_000, log: rotate(100)}),
		r.launch("many", writerOptions{out: script.TagsManyCalls, err: script.TagsOneCall, rate: 40_000, log: rotate(100, "compress", "true")}),
		r.launch("bare", writerOptions{out: script.BareManyCalls, err: script.Bare, rate: 20_000, log: rotate(60)}),
		r.launch("long", writerOptions{out: script.TagsManyCalls, err: script.Bare, rate: 60_000, long: true}),
	}
}

// TestKills is the chief test: fairlead is killed twenty times at random moments while the receiver is killed now and then, and
// containers are removed at the end, some while they still write.
func TestKills(t *testing.T) {
	r := newRig(t, newOTelReceiver, daemonConfig{containers: true})
	r.daemon.start()
	all := fourContainers(r)
	end := time.Now().Add(bed.soak)
	for i := 0; i < 20 || time.Now().Before(end); i++ {
		// Often so soon that it has not read its spool yet.
		r.pause(r.between(30*time.Millisecond, []time.Duration{200 * time.Millisecond, 2 * time.Second}[r.rnd.IntN(2)]))
		if r.rnd.IntN(4) == 0 {
			r.killReceiver(r.between(0, 500*time.Millisecond))
		}
		r.keepUp()
		r.killDaemon(r.between(0, 300*time.Millisecond))
	}
	// What is removed while nobody holds it open is gone: from here on fairlead lives.
	r.caughtUp()
	all[0].destroy()
	all[3].destroy()
	for _, c := range all[1:3] {
		c.stop()
		c.remove()
	}
	r.finish()
}

// TestRestarts stops fairlead in the ordinary way while everything goes on, also for so long that files rotate and are compressed
// meanwhile.
func TestRestarts(t *testing.T) {
	r := newRig(t, newOTelReceiver, daemonConfig{containers: true})
	all := fourContainers(r) // also what was written before the first start counts
	r.pause(time.Second)
	r.daemon.start()
	for i := range 5 {
		r.pause(r.between(100*time.Millisecond, 2*time.Second))
		r.keepUp()
		r.daemon.stop()
		r.pause([]time.Duration{0, 3 * time.Second}[i%2])
		r.daemon.start()
	}
	r.caughtUp()
	for _, c := range all {
		c.stop()
	}
	r.finish()
}

// TestRotation has Docker rotate as fast as a running fairlead must be able to follow, in all of its manners.
func TestRotation(t *testing.T) {
	r := newRig(t, newOTelReceiver, daemonConfig{containers: true})
	r.daemon.start()
	r.daemon.waitMetric(2*time.Minute, "fairlead_tail_files", func(float64) bool { return true })
	var all []*container
	for name, o := range map[string]writerOptions{
		"fast":     {out: script.TagsOneCall, rate: 250_000, groups: 450, log: rotate(15)},
		"compress": {out: script.TagsManyCalls, err: script.Bare, rate: 60_000, groups: 110, log: rotate(10, "compress", "true")},
		"five":     {out: script.TagsOneCall, err: script.Bare, rate: 30_000, groups: 60, log: rotate(5)},
		// max-file=1 keeps at most two files and on newer engines one: what is not read when it rotates is gone.
		"one":  {out: script.BareManyCalls, err: script.Bare, rate: 10_000, groups: 20, log: rotate(1)},
		"long": {out: script.TagsManyCalls, err: script.TagsOneCall, rate: 100_000, groups: 60, long: true, log: rotate(30)},
		"cut":  {out: script.TagsManyCalls, err: script.Bare, groups: 5, cut: true, log: rotate(20)},
	} {
		all = append(all, r.launch(name, o))
	}
	for range 3 {
		r.pause(r.between(500*time.Millisecond, 2*time.Second))
		r.killReceiver(r.between(0, time.Second))
	}
	for _, c := range all {
		c.wait()
	}
	r.finish()
}

// TestShortLived starts containers that live some 100 ms and are removed with their log: by the engine itself, or right after the end. Their
// names are right all the same.
func TestShortLived(t *testing.T) {
	r := newRig(t, newOTelReceiver, daemonConfig{containers: true})
	r.daemon.start()
	r.daemon.waitMetric(2*time.Minute, "fairlead_tail_files", func(float64) bool { return true })
	const containers = 24
	for i := range containers {
		o := writerOptions{out: script.Layouts[i%3], err: script.Bare, groups: 1 + i%5, rate: 100_000, cut: i%3 == 0, log: rotate(20)}
		if i%4 == 0 {
			o.rate = 0 // everything at once, gone after a few milliseconds
		}
		o.autoRemove = i%2 == 0
		c := r.launch(fmt.Sprint("n", i), o)
		c.wait()
		if !o.autoRemove {
			c.remove()
		}
		if i%8 == 7 {
			r.killReceiver(r.between(0, 300*time.Millisecond))
		}
	}
	r.finish()
}

// TestPaused stops the process itself for a while (SIGSTOP): no trace may be torn by it, and what is removed meanwhile is read from the
// files it holds open.
func TestPaused(t *testing.T) {
	r := newRig(t, newOTelReceiver, daemonConfig{containers: true})
	r.daemon.start()
	stays := r.launch("stays", writerOptions{out: script.TagsManyCalls, err: script.Bare, rate: 40_000, log: rotate(50)})
	goes := r.launch("goes", writerOptions{out: script.TagsOneCall, err: script.Bare, rate: 40_000})
	for i := range 4 {
		r.pause(r.between(300*time.Millisecond, time.Second))
		r.daemon.signal(syscall.SIGSTOP)
		r.pause(r.between(time.Second, 2*time.Second)) // longer than fold.wait
		if i == 2 {
			goes.destroy()
		}
		r.daemon.signal(syscall.SIGCONT)
	}
	stays.stop()
	r.finish()
}

// TestFullSpool lets the spool fill while the receiver is away: reading stops, rotation goes on, nothing is lost.
func TestFullSpool(t *testing.T) {
	r := newRig(t, newOTelReceiver, daemonConfig{containers: true, spool: "max_bytes: 32MiB"})
	r.daemon.start()
	r.receiver.kill()
	// More than the spool takes, and more than Docker keeps: the rest is in the files fairlead holds open.
	big := r.launch("big", writerOptions{out: script.TagsOneCall, err: script.TagsManyCalls, rate: 3_000_000, groups: 8000, log: map[string]string{"max-size": "4m", "max-file": "2"}})
	r.daemon.waitMetric(2*time.Minute, "fairlead_spool_full_seconds_total", func(v float64) bool { return v > 0 })
	r.pause(2 * time.Second)
	r.receiver.start()
	r.faults++
	big.wait()
	r.finish()
}
