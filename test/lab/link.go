package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Link is a cable between two network namespaces. Each has a TUN interface at its end, and the packets are carried over by this process,
// through whatever weather is set: what `tc netem` does, on kernels without it too, and the same everywhere.
type Link struct {
	ends     [2]*Space
	tuns     [2]*os.File
	weather  atomic.Pointer[Weather]
	underway atomic.Int64 // packets that are delayed now
	dropped  atomic.Int64
	carrying sync.WaitGroup

	mu  sync.Mutex // guards rnd
	rnd *rand.Rand
}

// Weather is what happens to packets, in both directions unless said otherwise. The zero value is a good network.
type Weather struct {
	Down       bool          // nothing passes
	OneWay     bool          // nothing passes from the second end to the first: data arrive, answers do not
	Loss       float64       // this share is lost
	Delay      time.Duration // each takes so long
	Jitter     time.Duration // and up to so much longer, so that they overtake each other
	LateShare  float64       // this share comes 50 ms after its time: reordering
	Duplicates float64       // this share comes twice
	MaxBytes   int           // larger packets vanish without a word: an MTU black hole; 0: none do
}

// Addresses of the two ends, in a network that is for such tests (RFC 2544).
const (
	nearAddress = "198.18.73.1"
	farAddress  = "198.18.73.2"
)

// maxUnderway bounds what the link holds, as the queue of a router does.
const maxUnderway = 10_000

// newLink lays the cable between two spaces that have networks of their own.
func newLink(near, far *Space, rnd *rand.Rand) (*Link, error) {
	l := &Link{ends: [2]*Space{near, far}, rnd: rnd}
	l.weather.Store(&Weather{})
	for i, s := range l.ends {
		err := s.Do(func() error {
			var err error
			l.tuns[i], err = openTUN([]byte{198, 18, 73, byte(i + 1)})
			return err
		})
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	for i := range l.tuns {
		l.carrying.Go(func() { l.carry(i) })
	}
	return l, nil
}

func openTUN(address []byte) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	r, err := unix.NewIfreq("fl-lab")
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err == nil {
		err = setUp("fl-lab", address, 1500)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a TUN interface: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "tun"), nil // from here on the poller knows it
}

// close cuts the cable.
func (l *Link) close() error {
	var errs []error
	for _, tun := range l.tuns {
		if tun != nil {
			errs = append(errs, tun.Close())
		}
	}
	l.carrying.Wait()
	return errors.Join(errs...)
}

// Set changes the weather for packets to come.
func (l *Link) Set(w Weather) { l.weather.Store(&w) }

// carry takes packets from one end to the other until the link is closed.
func (l *Link) carry(from int) {
	to := l.tuns[1-from]
	buf := make([]byte, 64<<10)
	for {
		n, err := l.tuns[from].Read(buf)
		if err != nil {
			return
		}
		w := l.weather.Load()
		if w.Down || w.OneWay && from == 1 || w.MaxBytes > 0 && n > w.MaxBytes || l.chance(w.Loss) {
			l.dropped.Add(1)
			continue
		}
		for range 1 + l.one(w.Duplicates) {
			wait := w.Delay + time.Duration(l.one(w.LateShare))*50*time.Millisecond
			if w.Jitter > 0 {
				l.mu.Lock()
				wait += time.Duration(l.rnd.Int64N(int64(w.Jitter)))
				l.mu.Unlock()
			}
			switch {
			case wait == 0:
				_, _ = to.Write(buf[:n])
			case l.underway.Load() < maxUnderway:
				packet := append([]byte(nil), buf[:n]...)
				l.underway.Add(1)
				time.AfterFunc(wait, func() {
					_, _ = to.Write(packet) // or the link is closed
					l.underway.Add(-1)
				})
			}
		}
	}
}

func (l *Link) chance(share float64) bool {
	if share == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rnd.Float64() < share
}

func (l *Link) one(share float64) int {
	if l.chance(share) {
		return 1
	}
	return 0
}
