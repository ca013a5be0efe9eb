// Package handshake is the authentication that a Forward receiver with a <security> section asks for, for both sides:
//
//	server: ["HELO", {nonce, auth, keepalive}]
//	client: ["PING", hostname, salt, digest of the key, username, digest of the password]
//	server: ["PONG", true, "", hostname, digest of the key]   or   ["PONG", false, reason, "", ""]
//
// Each side proves that it knows the shared key without sending it: a digest of the key, of what the other side chose at
// random, and of a host name. Keys and passwords are in no message and in no error of this package.
package handshake

import (
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
)

// User is one of those that a server may ask for besides the key.
type User struct{ Name, Password string }

// RefusedError is the server's word that it does not take the client, on either side.
type RefusedError struct {
	Reason string // as the server says it, bounded in length
}

func (e *RefusedError) Error() string { return fmt.Sprintf("handshake refused: %s", e.Reason) }

var (
	// ErrNoHello means that the other side speaks first, and that it is no HELO.
	ErrNoHello = errors.New("the receiver's first word is no HELO")
	// ErrSelf means that both sides have one name: most likely we talk to ourselves.
	ErrSelf = errors.New("the receiver has our own host name")
	// ErrUnproved means that the server does not know the key.
	ErrUnproved = errors.New("the receiver did not prove that it knows the shared key")
	// ErrMalformed means that a message is none of the handshake.
	ErrMalformed = errors.New("malformed message in the handshake")
)

// digest is how both sides prove what they know: SHA-512 over all parts, as lower-case hexadecimal digits.
func digest(parts ...string) string {
	h := sha512.New()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))
}

// same compares two digests in a time that does not tell where they differ.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// Client is the side that connects.
type Client struct {
	Hostname  string
	SharedKey string
	User      User // used only if the server asks for users
}

// Ping answers a HELO. The salt is to be random, and new for each connection.
func (c Client) Ping(h Hello, salt string) Ping {
	p := Ping{Hostname: c.Hostname, Salt: salt, Key: digest(salt, c.Hostname, h.Nonce, c.SharedKey)}
	if h.Auth != "" {
		p.Username, p.Password = c.User.Name, digest(h.Auth, c.User.Name, c.User.Password)
	}
	return p
}

// Check judges the server's answer to a Ping with that salt.
func (c Client) Check(h Hello, salt string, p Pong) error {
	switch {
	case !p.OK:
		return &RefusedError{Reason: brief(p.Reason)}
	case p.Hostname == c.Hostname:
		return fmt.Errorf("%w, %q", ErrSelf, c.Hostname)
	case !same(p.Key, digest(salt, p.Hostname, h.Nonce, c.SharedKey)):
		return ErrUnproved
	}
	return nil
}

// Server is the side that listens.
type Server struct {
	Hostname  string
	SharedKey string
	Users     []User // empty: whoever knows the key is welcome
	Single    bool   // it will close after each message, and says so
}

// Hello begins the handshake. Both texts are to be random, and new for each connection.
func (s Server) Hello(nonce, auth string) Hello {
	return Hello{Nonce: nonce, Auth: auth, Keepalive: !s.Single}
}

// Answer judges a Ping. The Pong is to be sent whatever it says; if it is not OK, the connection is to be closed then.
func (s Server) Answer(h Hello, p Ping) Pong {
	if !same(p.Key, digest(p.Salt, p.Hostname, h.Nonce, s.SharedKey)) {
		return Pong{Reason: "shared_key mismatch"}
	}
	if len(s.Users) > 0 {
		known := false
		for _, u := range s.Users { // all of them, whichever it is
			if same(p.Username, u.Name) && same(p.Password, digest(h.Auth, u.Name, u.Password)) {
				known = true
			}
		}
		if !known {
			return Pong{Reason: "username/password mismatch"}
		}
	}
	return Pong{OK: true, Hostname: s.Hostname, Key: digest(p.Salt, s.Hostname, h.Nonce, s.SharedKey)}
}

// brief keeps a text of the other side from filling a log.
func brief(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}
