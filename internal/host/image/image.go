// Package image is where root filesystems come from: this machine's own (Host), and images
// from registries, archives, layouts and directories, kept in a Store.
//
// It unpacks and says what to mount. It mounts nothing: a container's root is a plan.Root,
// put together in the container's own mount namespace.
package image
