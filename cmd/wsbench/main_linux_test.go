package main

import (
	"os"
	"strings"
	"testing"
)

// childEnv makes the test binary play another program: see TestMain.
const childEnv = "WSBENCH_TEST_CHILD"

// TestMain lets tests start this binary again: as wsbench itself, or as a program of known behaviour.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" && len(os.Args) > 1 {
		if child, ok := children[os.Args[1]]; ok {
			child(os.Args[2:])
			os.Exit(0)
		}
		os.Exit(run(os.Args[1:]))
	}
	os.Setenv(childEnv, "1")
	os.Setenv("GORACE", "atexit_sleep_ms=0") // of the children: by default each takes a second to end
	os.Exit(m.Run())
}

// children are the programs that the test binary can play, by first argument.
var children = map[string]func(args []string){}

func TestWrongInputIsOneLineAndStatus2(t *testing.T) {
	for _, tt := range []struct {
		name, args, want string
	}{
		{"no URL", "load", "0 arguments: allowed is one, the URL, like ws://127.0.0.1:8080/echo"},
		{"scheme", "load http://127.0.0.1:1", `URL "http://127.0.0.1:1": scheme "http"; with workload echo allowed are ws and wss`},
		{"scheme of HTTP", "load ws://127.0.0.1:1 --workload get", `URL "ws://127.0.0.1:1": scheme "ws"; with workload get allowed are http and https`},
		{"query of HTTP", "load http://127.0.0.1:1/?a --workload get", `URL "http://127.0.0.1:1/?a": allowed with workload get is http://host:port/path without a query, which is wsbench's`},
		{"workload", "load ws://127.0.0.1:1 --workload x", `workload "x": allowed are idle, echo, sparse, bulk, handshake, resumed, storm, drain, get, download, upload, events`},
		{"size", "load ws://127.0.0.1:1 --size 3", "size 3: allowed is 16 to 67108864 bytes"},
		{"size of a body", "load http://127.0.0.1:1 --workload get --size 16", "size 16: allowed is 32 to 68719476736 bytes"},
		{"size of an event", "load http://127.0.0.1:1 --workload events --size 16", "size 16: allowed is 75 to 65536 bytes"},
		{"rate of large bodies", "load http://127.0.0.1:1 --workload upload --rate 1", "--rate or --interval with workload upload: allowed with echo, sparse, bulk, drain, get, events"},
		{"pipelining", "load http://127.0.0.1:1 --workload get --in-flight 2", "in-flight 2 with workload get: allowed is 1, requests are not pipelined"},
		{"events without patience", "load http://127.0.0.1:1 --workload events --interval 10s", "timeout 10s with an event every 10s: allowed is more than that"},
		{"too many events", "load http://127.0.0.1:1 --workload events --interval 1us", "interval 1µs with workload events: allowed is 1ms or more"},
		{"negative connections", "load ws://127.0.0.1:1 --connections -1", "connections -1: allowed is 1 to 1000000"},
		{"too many links", "load ws://127.0.0.1:1 --connections 999999", "999999 links need 1000099 open descriptors: this process is allowed "},
		{"duration", "load ws://127.0.0.1:1 --duration -1s", "duration -1s: allowed is 1ms to 24h0m0s"},
		{"two rates", "load ws://127.0.0.1:1 --rate 1 --interval 1s", "--rate and --interval both set: one of them is allowed"},
		{"rate of handshakes", "load ws://127.0.0.1:1 --workload handshake --rate 1", "--rate or --interval with workload handshake: allowed with echo, sparse, bulk, drain, get, events"},
		{"resumed without TLS", "load ws://127.0.0.1:1 --workload resumed", `workload resumed with URL "ws://127.0.0.1:1": allowed with wss only, it resumes TLS sessions`},
		{"source", "load ws://127.0.0.1:1 --source 127.0.0.x", `source "127.0.0.x": allowed are addresses and ranges of this machine, like 127.0.0.2-127.0.0.9,127.0.1.1`},
		{"drop", "load ws://127.0.0.1:1 --workload storm --drop x", `drop "x": allowed are rst and close`},
		{"sigterm", "load ws://127.0.0.1:1 --workload drain --sigterm", "--sigterm without --pid or with workload drain: allowed with --pid and workload drain"},
		{"flag", "load --bogus", "unknown flag: --bogus (wsbench load --help tells what is allowed)"},
		{"command", "bogus", `unknown command "bogus" for "wsbench"; allowed are backend, load and compare, each with --help`},
		{"compared workload", "compare --only drain", `workload "drain": allowed are idle, echo, sparse, bulk, handshake, resumed, storm, get, download, upload, events`},
		{"peer", "compare --peers x", `peer "x": allowed are nginx, nginx-64k, haproxy, haproxy-splice, caddy and none`},
		{"compared links", "compare --links 99999 --peers none", "links 99999: allowed is up to "},
		{"build", "compare --wsproxy /nowhere", `wsproxy "/nowhere": no program there; allowed is PATH or NAME=PATH of a built wsproxy`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, stderr := runCaptured(t, strings.Fields(tt.args))
			if status != 2 {
				t.Errorf("wsbench %s: status %d, want 2", tt.args, status)
			}
			if !strings.HasPrefix(stderr, "wsbench: "+tt.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("wsbench %s says %q, want one line beginning with %q", tt.args, stderr, tt.want)
			}
		})
	}
}

func TestFaultsGiveStatus1(t *testing.T) {
	status, stderr := runCaptured(t, []string{"load", "ws://127.0.0.1:1", "--connections", "1"})
	if want := "wsbench: open links to ws://127.0.0.1:1: none of 1 could be opened: connect: connection refused\n"; status != 1 || stderr != want {
		t.Errorf("status %d and %q, want 1 and %q", status, stderr, want)
	}
}

// runCaptured runs wsbench in this process and returns its status and what it said on standard error.
func runCaptured(t *testing.T, args []string) (int, string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	saved := os.Stderr
	os.Stderr = f
	status := run(args)
	os.Stderr = saved
	f.Close()
	said, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return status, string(said)
}
