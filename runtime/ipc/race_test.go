//go:build race && linux && (amd64 || arm64)

package ipc_test

func init() { raceEnabled = true }
