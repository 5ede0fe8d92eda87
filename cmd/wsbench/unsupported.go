//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

var errLinuxOnly = errors.New("wsbench uses epoll and reads /proc: it runs on Linux only")

type backend struct{}

func newBackend(string) (*backend, error)    { return nil, errLinuxOnly }
func (*backend) addr() string                { return "" }
func (*backend) serve(context.Context) error { return errLinuxOnly }

func runLoad(context.Context, Options, *progress) (*Result, error) { return nil, errLinuxOnly }

func runCompare(context.Context, compareOptions, io.Writer) (*report, error) {
	return nil, errLinuxOnly
}

func describeMachine() []string { return nil }

func isTerminal(int) bool { return false }
