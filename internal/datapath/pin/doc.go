// Package pin keeps links and maps on a bpffs, where they outlive the process:
// links whose programs are replaced in place, maps that are taken over as long
// as their shape is the same. It knows nothing of what the programs do.
package pin
