package xds

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Listen opens the UNIX socket at path (mode 0660) in its directory, which is
// made if need be and becomes mode 0700. A socket that a process which is gone
// left there is replaced; that none lives is the caller's to know.
func Listen(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of xDS socket: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("close directory of xDS socket to others: %w", err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove old xDS socket: %w", err)
	}
	lis, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open xDS socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		lis.Close()
		return nil, fmt.Errorf("set mode of xDS socket: %w", err)
	}
	return lis, nil
}
