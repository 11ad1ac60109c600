package envoy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Version is the release of Envoy that Waggle is built for.
const Version = "1.40.0"

// advice ends every error about the binary.
const advice = `run "make tools" or pass --envoy`

// checkBinary returns the absolute path of an Envoy binary that can be run.
func checkBinary(path string) (string, error) {
	if path == "" {
		return "", errors.New("no Envoy binary is named; " + advice)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find Envoy binary: %w", err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no Envoy binary at %s; %s", path, advice)
	case err != nil:
		return "", fmt.Errorf("look at Envoy binary: %w; %s", err, advice)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return "", fmt.Errorf("%s is not an executable file (%s); %s", path, info.Mode(), advice)
	}
	return path, nil
}

// checkVersion runs the binary to see that it is the Envoy that is wanted.
func checkVersion(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return fmt.Errorf("run %s --version: %w: %s; %s", path, err, text, advice)
	}
	// "envoy  version: 9e55…/1.40.0/Clean/RELEASE/BoringSSL"
	_, version, is := strings.Cut(text, "version:")
	fields := strings.Split(version, "/")
	if !is || len(fields) < 2 {
		return fmt.Errorf("%s is not Envoy (its version is %.100q); %s", path, text, advice)
	}
	if fields[1] != Version {
		return fmt.Errorf("%s is Envoy %s and %s is needed; %s", path, fields[1], Version, advice)
	}
	return nil
}
