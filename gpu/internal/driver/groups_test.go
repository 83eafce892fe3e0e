package driver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// groups is a cache of numbers, with those that it has dropped.
func groups() (c *Groups[int], dropped map[int]bool) {
	dropped = map[int]bool{}
	return NewGroups(func(g int) { dropped[g] = true }), dropped
}

// look finds the group of a program and one range, or keeps handle for it.
func look(c *Groups[int], program int, b *Bound[int], off, n, handle int) (found int) {
	c.Begin(&Program{ID: program})
	c.Add(b, off, n)
	if g, ok := c.Find(); ok {
		return g
	}
	c.Keep(handle)
	return handle
}

// A group is found by exactly what it names.
func TestGroupsAreExact(t *testing.T) {
	c, dropped := groups()
	a, b := c.Buffer(), c.Buffer()
	require.Equal(t, 1, look(c, 0, a, 0, 64, 1))
	require.Equal(t, 1, look(c, 0, a, 0, 64, 2))
	for i, other := range []func(handle int) int{
		func(h int) int { return look(c, 1, a, 0, 64, h) },
		func(h int) int { return look(c, 0, b, 0, 64, h) },
		func(h int) int { return look(c, 0, a, 64, 64, h) },
		func(h int) int { return look(c, 0, a, 0, 65, h) },
	} {
		require.Equal(t, 10+i, other(10+i))
		require.Equal(t, 10+i, other(99))
	}
	require.Equal(t, 5, c.Len())
	require.Empty(t, dropped)
}

// The groups of a released buffer go, also where they name others, and those
// forget them.
func TestGroupsGoWithTheirBuffers(t *testing.T) {
	c, dropped := groups()
	long, short := c.Buffer(), c.Buffer()
	c.Begin(&Program{})
	c.Add(long, 0, 4)
	c.Add(short, 0, 4)
	c.Keep(1)
	look(c, 0, long, 0, 4, 2)
	c.Forget(short)
	require.Equal(t, map[int]bool{1: true}, dropped)
	require.Equal(t, 1, c.Len())
	require.Len(t, long.groups, 1, "the long-lived buffer keeps groups of a released one")
	require.Equal(t, 2, look(c, 0, long, 0, 4, 3))
	require.NotEqual(t, short.serial, c.Buffer().serial)
}

func TestGroupsAreBounded(t *testing.T) {
	c, dropped := groups()
	b := c.Buffer()
	for i := range mostGroups + 10 {
		require.Equal(t, i, look(c, 0, b, i, 1, i))
	}
	require.Empty(t, dropped, "a plan's bind groups last until the next")
	c.Trim()
	require.Zero(t, c.Len())
	require.Empty(t, b.groups)
	require.Len(t, dropped, mostGroups+10)
	look(c, 0, b, 0, 1, 0)
	c.Trim()
	require.Equal(t, 1, c.Len())
}
