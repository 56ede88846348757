package sandbox_test

import (
	"fmt"
	"testing"
)

// With few containers one sees what a look costs at all, which is runs of nft;
// with many, what it costs for each. The latter hardly grows with their number
// as long as nothing goes through a list of all namespaces for each of them.

func BenchmarkRepair(b *testing.B) {
	perContainer(b, func(b *testing.B, m *machine, ids []string) {
		for b.Loop() {
			m.repair(false, ids...)
		}
	})
}

func BenchmarkRestore(b *testing.B) {
	perContainer(b, func(b *testing.B, m *machine, ids []string) {
		for b.Loop() {
			b.StopTimer()
			m.open() // as a server does that starts
			b.StartTimer()
			m.restore(ids...)
		}
	})
}

// perContainer measures on machines with few and many containers.
func perContainer(b *testing.B, measure func(*testing.B, *machine, []string)) {
	for _, size := range []int{10, 200} {
		b.Run(fmt.Sprintf("containers=%d", size), func(b *testing.B) {
			m := newMachine(b)
			var ids []string
			for i := range size {
				ids = append(ids, fmt.Sprintf("c%04d", i))
				m.container(ids[i], 1, 0)
			}
			measure(b, m, ids)
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(size), "µs/container")
		})
	}
}
