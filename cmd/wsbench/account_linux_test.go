package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	burnTime = 200 * time.Millisecond
	burnSize = 32 << 20
)

func init() {
	children["burn"] = burnOnDemand
	children["burn-once"] = func([]string) { fmt.Println(burnCPU()) }
}

// burnOnDemand obeys one word a line and answers each with the CPU nanoseconds it cost by getrusage.
func burnOnDemand([]string) {
	fmt.Println("ready")
	var held [][]byte
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "cpu":
			fmt.Println(burnCPU())
		case "thread": // burns on a thread that ends with its goroutine
			spent := make(chan int64)
			go func() {
				runtime.LockOSThread()
				spent <- burnCPU()
			}()
			fmt.Println(<-spent)
		case "child": // burns in a process that has ended when the answer comes
			cmd := exec.Command(os.Args[0], "burn-once")
			if _, err := cmd.Output(); err != nil {
				fmt.Println("child:", err)
			}
			fmt.Println(int64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()))
		case "memory":
			// Not Go's heap: the race detector keeps more for each byte of that.
			b, err := unix.Mmap(-1, 0, burnSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				fmt.Println(err)
			}
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b)
			fmt.Println(len(held))
		}
	}
}

// burnCPU spends burnTime as getrusage sees it and returns what it really was.
func burnCPU() int64 {
	usage := func() time.Duration {
		var ru unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &ru)
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	began := usage()
	for usage()-began < burnTime {
	}
	return int64(usage() - began)
}

func TestAccountAgreesWithKnownCost(t *testing.T) {
	cmd := exec.Command(os.Args[0], "burn")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		_ = cmd.Wait()
	}()
	answers := bufio.NewScanner(stdout)
	ask := func(word string) int64 {
		fmt.Fprintln(stdin, word)
		if !answers.Scan() {
			t.Fatalf("no answer to %q: %v", word, answers.Err())
		}
		n, err := strconv.ParseInt(answers.Text(), 10, 64)
		if err != nil {
			t.Fatalf("answer to %q: %v", word, err)
		}
		return n
	}
	if !answers.Scan() || answers.Text() != "ready" {
		t.Fatalf("child says %q", answers.Text())
	}
	a, err := newAccount(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"cpu", "thread", "child"} {
		before, err := a.cpu()
		if err != nil {
			t.Fatal(err)
		}
		spent := time.Duration(ask(word))
		after, err := a.cpu()
		if err != nil {
			t.Fatal(err)
		}
		if q := float64(after-before) / float64(spent); q < 0.85 || q > 1.25 {
			t.Errorf("%s: accounted %v of %v, ratio %.2f", word, after-before, spent, q)
		}
	}
	before, n, err := a.memory()
	if err != nil || n != 1 {
		t.Fatalf("memory of %d processes, %v, want 1", n, err)
	}
	ask("memory")
	after, _, err := a.memory()
	if err != nil {
		t.Fatal(err)
	}
	if q := float64(after-before) / burnSize; q < 0.95 || q > 1.15 {
		t.Errorf("memory grew by %d, allocated %d, ratio %.2f", after-before, burnSize, q)
	}
}

func TestAccountOfAbsentProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0], "burn-once")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	_, err := newAccount(cmd.Process.Pid)
	if err == nil || !strings.HasSuffix(err.Error(), ": not running") {
		t.Errorf("newAccount of an ended process: %v, want … not running", err)
	}
}
