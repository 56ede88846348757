package platform

import "strings"

// Size is a row of the container size table (spec platform.md section 2).
type Size struct {
	Name string
	// Memory is the limit in bytes; swap is always 0 (FS-3).
	Memory int64
	// Weight is the CPU weight relative to the others: 1 low, 2 standard,
	// 4 high. It matters under contention only (FS-2).
	Weight int
	// PIDs is the most processes and threads.
	PIDs int64
	// NoFile is the limit of open files.
	NoFile uint64
	// Priority is Weight in words: low, standard, high.
	Priority string
}

// DefaultSize is the size of a process type that was never given one.
const DefaultSize = "M"

// Sizes is the whole catalogue, smallest first.
var Sizes = []Size{
	{Name: "S", Memory: 256 << 20, Weight: 1, PIDs: 128, NoFile: 1 << 20, Priority: "low"},
	{Name: "M", Memory: 512 << 20, Weight: 2, PIDs: 256, NoFile: 1 << 20, Priority: "standard"},
	{Name: "L", Memory: 1 << 30, Weight: 2, PIDs: 512, NoFile: 1 << 20, Priority: "standard"},
	{Name: "XL", Memory: 2 << 30, Weight: 4, PIDs: 1024, NoFile: 1 << 20, Priority: "high"},
	{Name: "2XL", Memory: 4 << 30, Weight: 4, PIDs: 2048, NoFile: 1 << 20, Priority: "high"},
	{Name: "3XL", Memory: 8 << 30, Weight: 4, PIDs: 4096, NoFile: 1 << 20, Priority: "high"},
}

// SizeByName finds a size; names are case-sensitive. The error lists the
// names there are.
func SizeByName(name string) (Size, error) {
	names := make([]string, 0, len(Sizes))
	for _, s := range Sizes {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Size{}, Invalid("size", "%q is no container size; use one of %s", name, strings.Join(names, ", "))
}
