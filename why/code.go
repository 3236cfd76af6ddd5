package why

// Code numbers a kind of refusal: P01xx seccomp, P02xx sysctl, P03xx capabilities, P04xx mounts
// and masks, P05xx no_new_privs, P06xx user namespaces, P07xx LSM and Yama, P08xx limits and
// devices, P09xx not a permission problem. Title and text of each are in the language files.
type Code string
