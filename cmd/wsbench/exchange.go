package main

import (
	"fmt"
	"strings"
)

// exchange is what a link of an HTTP workload holds instead of a checker: its request and what is known of the answer.
type exchange struct {
	reader answerReader
	check  answerCheck // of get, download and upload
	stream eventReader // of events
	unsent int64       // bytes of an upload's body that the kernel has not taken
	moved  int64       // when a byte of request or answer moved last, in nanoseconds of the run
}

func newExchange(opt *Options) *exchange {
	return &exchange{
		check:  answerCheck{size: int64(opt.Size), upload: opt.Workload == workUpload},
		stream: eventReader{size: opt.Size},
	}
}

// begin starts over with the request that t names.
func (x *exchange) begin(t tag) {
	x.check.begin(t)
	x.stream.begin(t)
	if x.check.upload {
		x.unsent = x.check.size
	}
}

// body is the part of an upload's body that is sent next.
func (x *exchange) body() []byte {
	p := x.check.body.from(x.check.size - x.unsent)
	return p[:min(int64(len(p)), x.unsent)]
}

// requestHead is the head of a workload's requests, up to the tag and from there on.
func requestHead(opt *Options, t *target) (before, after string) {
	path := strings.TrimSuffix(t.path, "/") + "/" + opt.Workload
	method, query, length := "GET", fmt.Sprintf("?size=%d&tag=", opt.Size), ""
	switch opt.Workload {
	case workUpload:
		method, query, length = "POST", "?tag=", fmt.Sprintf("Content-Length: %d\r\n", opt.Size)
	case workEvents:
		query = fmt.Sprintf("?size=%d&interval=%v&tag=", opt.Size, opt.Interval)
	}
	return method + " " + path + query, " HTTP/1.1\r\nHost: " + t.host + "\r\n" + length + "\r\n"
}
