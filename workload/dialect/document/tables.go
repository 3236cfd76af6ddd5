package document

var dockerKept, dockerLost, composeKept, composeLost, kubeKept, kubeLost, marathonKept, marathonLost, systemdKept, systemdLost, ociKept, ociLost, bwrapKept, bwrapLost []Row
