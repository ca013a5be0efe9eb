package spool
import "fmt"
func dbg(f string, a ...any) { if *historySeed != 0 { fmt.Printf(f+"\n", a...) } }
