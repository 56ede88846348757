// Package namespace enters, makes and binds Linux network namespaces, and
// reads and writes their settings.
//
// Guarantees:
//
//   - Whatever happens in a function that runs in a namespace, the thread it
//     ran on comes back before anything else runs there, or ends. That ends
//     with a panic and with [runtime.Goexit] (t.Fatal) too; both are passed on
//     to the caller.
//   - What is bound is complete: Make binds last.
//
// A namespace is the thread's. Sockets and programs that a function makes or
// starts are in the namespace, and stay there; goroutines that it starts are
// not, so neither are name look-ups and other work for which the standard
// library takes goroutines.
//
// It needs CAP_SYS_ADMIN. It imports nothing of ours and touches no
// interface, route or rule. internal/lab has its own way into namespaces: a
// laboratory does not lean on what it examines.
package namespace
