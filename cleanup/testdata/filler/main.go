// Command filler is what runs in the containers of the tests: it writes so many bytes into a folder, sleeps for so long, and exits with
// a code.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	bytes, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	sleep, err := time.ParseDuration(os.Args[3])
	if err != nil {
		panic(err)
	}
	code, err := strconv.Atoi(os.Args[4])
	if err != nil {
		panic(err)
	}
	fmt.Println("filler", os.Args[1:])
	if err := os.WriteFile(filepath.Join(os.Args[1], "filled"), make([]byte, bytes), 0o600); err != nil {
		fmt.Println(err)
		os.Exit(99)
	}
	time.Sleep(sleep)
	os.Exit(code)
}
