// Package bench measures our TCP beside others in one run, where ratios mean
// something and absolute figures little, and says how to read what came out.
//
//	contests() --> turns: A B B A ... --> series --> comparisons --> rows
//	                   |                                              |
//	     subject, a process, pinned                     Refusals, Report.Markdown
//	          |  veth  |
//	     the kernel's side, a process, pinned
//
// A contest is one piece of work; its contenders do it in turns. What the table
// says of it are comparisons: our figure, a peer's, the ratio of each round, and
// what the goal asks for. There is a file for each group of goals, and Goals
// lists them. Who adds a goal adds a comparison.
//
// Both sides of a run are this same program, started again in a role (Role), so
// that each is pinned to a processor and its own time can be counted.
package bench
