// Package cli holds the commands of atoll that talk to a server: one verb per
// file, the most important thing of a verb at the top of its file.
//
// It may import internal/client and internal/platform, nothing of the server;
// packing a folder is handed in as a Packer. It never touches the server's
// files and never decides a rule that the server decides; it checks early only
// what costs nothing, so that mistakes are told before work is done.
//
// What it guarantees to scripts:
//
//   - Results go to stdout, everything else (progress, remarks, questions,
//     errors) to stderr. With --json stdout is one JSON document, or one per
//     line where lines are followed.
//   - The exit codes of exit.go.
//   - No question without a terminal: the command fails and names the flag
//     that answers it.
//   - No colour unless the output is a terminal and NO_COLOR is empty.
package cli
