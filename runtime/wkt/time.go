package wkt

import (
	"fmt"
	"math"
	"time"
)

// The range of Timestamp and Duration, as their .proto files give it.
const (
	minSeconds      = -62135596800 // 0001-01-01T00:00:00Z
	maxSeconds      = 253402300799 // 9999-12-31T23:59:59Z
	durationSeconds = 315576000000 // 10000 years
)

// NewTimestamp returns t, in nanoseconds. Its time zone is lost.
func NewTimestamp(t time.Time) *Timestamp {
	return &Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}

// AsTime returns the point in time, in UTC; the Unix epoch for nil. It does not check the range: see CheckValid.
func (m *Timestamp) AsTime() time.Time {
	return time.Unix(m.GetSeconds(), int64(m.GetNanos())).UTC()
}

// CheckValid returns an error unless m is from year 1 to year 9999 and its nanoseconds are from 0 to 999,999,999.
func (m *Timestamp) CheckValid() error {
	switch s, n := m.GetSeconds(), m.GetNanos(); {
	case m == nil:
		return fmt.Errorf("timestamp: nil")
	case s < minSeconds || s > maxSeconds:
		return fmt.Errorf("timestamp: %d seconds are not between year 1 and year 9999", s)
	case n < 0 || n >= 1e9:
		return fmt.Errorf("timestamp: %d nanoseconds, not 0 to 999999999", n)
	}
	return nil
}

// NewDuration returns d.
func NewDuration(d time.Duration) *Duration {
	return &Duration{Seconds: int64(d / time.Second), Nanos: int32(d % time.Second)}
}

// AsDuration returns m; what a time.Duration cannot hold, which is about 292 years, becomes its largest or smallest
// value.
func (m *Duration) AsDuration() time.Duration {
	s, n := m.GetSeconds(), int64(m.GetNanos())
	d := time.Duration(s) * time.Second
	overflow := d/time.Second != time.Duration(s)
	sum := d + time.Duration(n)
	overflow = overflow || d < 0 && n < 0 && sum > 0 || d > 0 && n > 0 && sum < 0
	switch {
	case overflow && s < 0:
		return math.MinInt64
	case overflow:
		return math.MaxInt64
	}
	return sum
}

// CheckValid returns an error unless m is within 10,000 years and its seconds and nanoseconds have the same sign.
func (m *Duration) CheckValid() error {
	switch s, n := m.GetSeconds(), m.GetNanos(); {
	case m == nil:
		return fmt.Errorf("duration: nil")
	case s < -durationSeconds || s > durationSeconds:
		return fmt.Errorf("duration: %d seconds are more than 10000 years", s)
	case n <= -1e9 || n >= 1e9:
		return fmt.Errorf("duration: %d nanoseconds are a second or more", n)
	case s > 0 && n < 0 || s < 0 && n > 0:
		return fmt.Errorf("duration: %d seconds and %d nanoseconds have different signs", s, n)
	}
	return nil
}
