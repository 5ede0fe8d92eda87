//go:build !linux

package main

import (
	"context"
	"errors"
)

var errLinuxOnly = errors.New("wsbench reads /proc and uses epoll: it runs on Linux only")

type backend struct{}

func newBackend(string) (*backend, error)        { return nil, errLinuxOnly }
func (*backend) addr() string                    { return "" }
func (*backend) serve(ctx context.Context) error { return errLinuxOnly }

func runLoad(context.Context, Options, *progress) (*Result, error) { return nil, errLinuxOnly }

func isTerminal(int) bool { return false }
