// Package lab is the fault laboratory: scenarios in which the real fairlead binary carries real files, and real containers of a real
// Docker engine, to receivers behind whatever may go wrong, and ledgers that say what arrived.
//
// Where a fault is one that Docker's own fluentd driver meets as well, the same containers are run against it at the same time, the
// driver alone and with fairlead's listener before it. All of the network is on loopback or in namespaces without names; all of it is gone
// with the process that runs it. The machine's clock is never touched. What is random follows from the seed, apart from the timing of the machine.
package lab
