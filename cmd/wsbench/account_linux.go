package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of /proc/PID/stat: USER_HZ is 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// keepUpEvery is how often the tree is looked at between two readings, so that little is lost of a process
// that starts and ends in between.
const keepUpEvery = time.Second

// account measures a process and all it started: CPU time and private memory. It has one owner.
//
// CPU time is the sum of /proc/PID/task/*/schedstat, in nanoseconds. Threads that have ended are missing there;
// the process's own CPU clock has them, so the greater of the two counts. Of a process that has ended the
// parent's record of its waited-for children tells (in ticks of 10 ms), or else the last reading.
type account struct {
	root     int
	known    map[procID]reading
	lost     time.Duration // of ended processes that no parent's record covers
	last     time.Duration // what cpu returned last
	lastLook time.Time
}

// procID names a process for good: numbers are used again.
type procID struct {
	pid   int
	start uint64 // in ticks since boot
}

// reading is what one process had spent when last seen.
type reading struct {
	own, children time.Duration // children: those waited for, with theirs
}

// newAccount watches the tree under pid, which must be running.
func newAccount(pid int) (*account, error) {
	a := &account{root: pid, known: map[procID]reading{}}
	if _, err := a.cpu(); err != nil {
		return nil, err
	}
	return a, nil
}

// cpu returns the CPU time of the whole tree since its processes started; only differences mean something. If
// the root has ended it returns the last reading and an error.
func (a *account) cpu() (time.Duration, error) {
	tree, err := a.tree()
	if err != nil {
		return a.last, err
	}
	var total, gone, grown time.Duration
	for id, was := range a.known {
		if now, ok := tree[id]; ok {
			grown += now.children - was.children
		} else {
			gone += was.own + was.children
		}
	}
	a.lost += max(0, gone-grown)
	for _, r := range tree {
		total += r.own + r.children
	}
	a.known, a.last = tree, total+a.lost
	a.lastLook = time.Now()
	return a.last, nil
}

// keepUp looks at the tree if it is time to.
func (a *account) keepUp() {
	if time.Since(a.lastLook) >= keepUpEvery {
		_, _ = a.cpu() // an ended proxy is reported by the next reading that counts
	}
}

// memory returns the bytes that belong to the tree's processes alone: Private_Clean and Private_Dirty of smaps_rollup.
// What the kernel holds for them (socket buffers, TCP state, page tables) is not in it.
func (a *account) memory() (private int64, processes int, err error) {
	tree, err := a.tree()
	if err != nil {
		return 0, 0, err
	}
	for id := range tree {
		n, err := privateMemory(id.pid)
		if os.IsNotExist(err) || err == unix.ESRCH {
			continue // ended meanwhile
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read memory of process %d: %w", id.pid, err)
		}
		private += n
		processes++
	}
	return private, processes, nil
}

// tree reads every process that descends from the root, and those known from before that live on though
// their parent has ended.
func (a *account) tree() (map[procID]reading, error) {
	type proc struct {
		id     procID
		parent int
		read   reading
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	procs := map[int]proc{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		p := proc{id: procID{pid: pid}}
		p.parent, p.id.start, p.read.children = parseStat(stat)
		procs[pid] = p
	}
	if _, ok := procs[a.root]; !ok {
		return nil, fmt.Errorf("process %d: not running", a.root)
	}
	tree := map[procID]reading{}
	for _, p := range procs {
		_, ours := a.known[p.id]
		for up, ok := p, true; !ours && ok && up.id.pid > 1; up, ok = procs[up.parent] {
			ours = up.id.pid == a.root
		}
		if !ours {
			continue
		}
		p.read.own = ownCPU(p.id.pid)
		tree[p.id] = p.read
	}
	return tree, nil
}

// parseStat takes parent, start time and the waited-for children's CPU time from /proc/PID/stat.
func parseStat(stat []byte) (parent int, start uint64, children time.Duration) {
	// The second field, the name in parentheses, may hold anything.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 {
		return 0, 0, 0
	}
	parent, _ = strconv.Atoi(f[1])
	start, _ = strconv.ParseUint(f[19], 10, 64)
	for _, ticks := range f[13:15] { // cutime, cstime
		n, _ := strconv.ParseInt(ticks, 10, 64)
		children += time.Duration(n) * clockTick
	}
	return parent, start, children
}

// ownCPU is the CPU time of a process's threads, zero if it is gone.
func ownCPU(pid int) time.Duration {
	var sum time.Duration
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, t := range tasks {
		stat, err := os.ReadFile(dir + "/" + t.Name() + "/schedstat")
		if err != nil {
			continue
		}
		first, _, _ := bytes.Cut(stat, []byte(" "))
		ns, _ := strconv.ParseInt(string(first), 10, 64)
		sum += time.Duration(ns)
	}
	// The process's CPU clock, as clock_getcpuclockid(3) names it.
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &ts) == nil {
		sum = max(sum, time.Duration(ts.Nano()))
	}
	return sum
}

func privateMemory(pid int) (int64, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	var total int64
	for line := range strings.Lines(string(rollup)) {
		name, rest, _ := strings.Cut(line, ":")
		if name != "Private_Clean" && name != "Private_Dirty" {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		total += kb << 10
	}
	return total, nil
}
