package rawsock

// childRole names what a child process of a test does.
const childRole = "RAWSOCK_TEST_ROLE"

func runChild(role string) int { return 2 }
