package memory

import (
	"debug/elf"

	"golang.org/x/sys/unix"
)

// forgetCode unmaps the pages of the program's own file that are in memory. The
// start goes through nearly all of them once (each package's variables, each
// message's description) and the kernel maps them sixteen at a time: 55 MB, of
// which a process at rest uses a half. What is needed is mapped again when it
// is, from the kernel's cache of files; the rest the kernel may have.
func forgetCode() {
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		return // no /proc: they stay
	}
	defer file.Close()
	if file.Type != elf.ET_EXEC {
		return // such a file is mapped wherever there is room, and has been written to
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W == 0 {
			forget(p.Vaddr, p.Memsz)
		}
	}
}

// forget unmaps the whole pages from an address on, which are as their file has
// them. A kernel that refuses keeps them, and nothing is lost.
func forget(from, size uint64) {
	page := uint64(unix.Getpagesize())
	first, end := (from+page-1)/page*page, (from+size)/page*page
	if first < end {
		unix.Syscall(unix.SYS_MADVISE, uintptr(first), uintptr(end-first), unix.MADV_DONTNEED)
	}
}
