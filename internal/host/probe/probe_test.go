package probe

import (
	"encoding/json"
	"testing"
)

func TestDump(t *testing.T) {
	f, err := Deep()
	b, _ := json.MarshalIndent(f, "", " ")
	t.Log(string(b), err)
}
func BenchmarkFacts(b *testing.B) {
	for b.Loop() {
		Facts()
	}
}
func BenchmarkDeep(b *testing.B) {
	for b.Loop() {
		Deep()
	}
}
