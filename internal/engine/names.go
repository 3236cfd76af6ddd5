package engine

import (
	"crypto/rand"
	"encoding/binary"
)

// Names for containers that were given none: an adjective and something that floats or is
// found aboard.
var (
	adjectives = []string{"amber", "bold", "brisk", "calm", "clear", "deep", "eager", "early", "fair", "fleet", "fond", "glad", "grand", "green", "hardy", "keen", "kind", "late", "light", "lively", "loyal", "mild", "neat", "noble", "plain", "proud", "quick", "quiet", "rapid", "ready", "round", "sharp", "silver", "sleek", "smart", "solid", "sound", "steady", "still", "stout", "sunny", "swift", "tidy", "true", "vivid", "warm", "wise", "young"}
	vessels    = []string{"anchor", "barge", "bosun", "bow", "brig", "buoy", "cabin", "canoe", "capstan", "clipper", "compass", "cutter", "davit", "deck", "dinghy", "dory", "ferry", "fender", "frigate", "galley", "hatch", "helm", "hull", "jib", "kayak", "keel", "ketch", "lantern", "lugger", "mast", "oar", "packet", "pilot", "pinnace", "prow", "punt", "raft", "rudder", "schooner", "sextant", "skiff", "sloop", "spar", "stern", "tender", "tiller", "trawler", "tug", "yawl"}
)

func randomName() string {
	var b [4]byte
	rand.Read(b[:])
	n := int(binary.NativeEndian.Uint32(b[:]) >> 1)
	return adjectives[n%len(adjectives)] + "_" + vessels[n/len(adjectives)%len(vessels)]
}
