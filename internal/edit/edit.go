// Package edit describes what scripts would do to a text file, line by line, without doing it.
package edit

import "github.com/fairlead/fairlead/internal/document"

// Line is one step: the file is emptied, or a line is appended.
type Line struct {
	Truncate bool
	Text     string // without its newline
	At       document.Place
}
