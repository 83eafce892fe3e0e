package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// downloader fetches one file into part and checks it.
type downloader struct {
	remoteFile
	part     string
	client   *http.Client
	stall    time.Duration // without a byte, after which a connection is given up
	pause    time.Duration // before the first repetition, doubled each time
	say      func(format string, args ...any)
	progress func(done, total int64) // total 0 where the server does not say
}

// attempts in a row that bring nothing, and attempts in all to get a file whose checksum is
// right, after which a download fails.
const attempts = 5

// mostBytes bounds a file: the largest set takes 13 GB.
const mostBytes = 1 << 36

// finalError is an error that trying again does not mend.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// run downloads until the file is whole and its checksum right. It returns its length, or
// what there is of it.
func (d *downloader) run(ctx context.Context) (int64, error) {
	resumed, wrong := false, 0
	pause := d.pause
	for failures := 0; ; {
		before := d.length()
		resumed = resumed || before > 0
		err := d.attempt(ctx, before)
		now := d.length()
		if err == nil {
			sum, err := md5Of(d.part)
			switch {
			case err != nil:
				return now, err
			case sum == d.md5:
				return now, nil
			}
			if err := os.Remove(d.part); err != nil {
				return now, err
			}
			if wrong++; !resumed || wrong == attempts {
				return 0, fmt.Errorf("the server's file is another one: MD5 %s, not %s, %d bytes; it was not kept. Try later, or from another network", sum, d.md5, now)
			}
			d.say("%s: what was there before was damaged; it is fetched from the start", d.name)
			resumed, failures = false, 0
			continue
		}
		var final finalError
		if ctx.Err() != nil || errors.As(err, &final) {
			return now, err
		}
		if failures++; now > before {
			failures, pause = 1, d.pause
		}
		if failures == attempts {
			return now, fmt.Errorf("%w, %d times in a row; the same command goes on after %s", err, attempts, bytesText(uint64(now)))
		}
		d.say("%s: %v; trying again in %v", d.name, err, pause)
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// length of what was fetched.
func (d *downloader) length() int64 {
	s, err := os.Stat(d.part)
	if err != nil {
		return 0
	}
	return s.Size()
}

// attempt asks for what follows the first have bytes and appends it to part.
func (d *downloader) attempt(ctx context.Context, have int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("no answer for %v", d.stall)
	watch := time.AfterFunc(d.stall, func() { cancel(stalled) })
	defer watch.Stop()
	why := func(err error) error {
		if context.Cause(ctx) == stalled {
			return stalled
		}
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.address, nil)
	if err != nil {
		return finalError{err}
	}
	request.Header.Set("User-Agent", "wgjepa")
	// Packing on the way would change lengths, and .npz files are packed.
	request.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	answer, err := d.client.Do(request)
	if err != nil {
		return why(err)
	}
	defer answer.Body.Close()
	total := int64(0)
	switch code := answer.StatusCode; {
	case code == http.StatusPartialContent:
		var first int64
		first, total = contentRange(answer.Header.Get("Content-Range"))
		if first != have {
			return finalError{fmt.Errorf("%s: asked for bytes from %d, the server sent %q", d.address, have, answer.Header.Get("Content-Range"))}
		}
	case code == http.StatusOK: // from the start, whatever was asked for
		have, total = 0, max(answer.ContentLength, 0)
	case code == http.StatusRequestedRangeNotSatisfiable:
		if _, total = contentRange(answer.Header.Get("Content-Range")); total == have {
			return nil // it was whole; the checksum says whether it is right
		}
		if err := os.Remove(d.part); err != nil {
			return finalError{err}
		}
		return fmt.Errorf("%d bytes were there, more than the file has", have)
	case code == http.StatusNotFound, code == http.StatusGone:
		return finalError{fmt.Errorf("%s: %s: the file has moved; look on https://medmnist.com and name its folder with --mirror", d.address, answer.Status)}
	case code == http.StatusTooManyRequests, code >= 500:
		return fmt.Errorf("%s: %s", d.address, answer.Status)
	default:
		return finalError{fmt.Errorf("%s: %s", d.address, answer.Status)}
	}
	if kind := answer.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
		return finalError{fmt.Errorf("%s: a web page came instead of the file: does this network ask for a login?", d.address)}
	}
	if total > mostBytes {
		return finalError{fmt.Errorf("%s: %d bytes are no such set", d.address, total)}
	}
	f, err := os.OpenFile(d.part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return finalError{err}
	}
	defer f.Close()
	if err := f.Truncate(have); err != nil {
		return finalError{err}
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return finalError{err}
	}
	buffer := make([]byte, 1<<17)
	for {
		n, err := answer.Body.Read(buffer)
		if n > 0 {
			watch.Reset(d.stall)
			if _, err := f.Write(buffer[:n]); err != nil {
				return finalError{fmt.Errorf("writing: %w", err)}
			}
			if have += int64(n); have > mostBytes {
				return finalError{fmt.Errorf("%s: more than %d bytes are no such set", d.address, int64(mostBytes))}
			}
			d.progress(have, total)
		}
		switch {
		case err == io.EOF && total > 0 && have < total:
			return fmt.Errorf("cut after %d of %d bytes", have, total)
		case err == io.EOF:
			if err := f.Sync(); err != nil {
				return finalError{fmt.Errorf("writing: %w", err)}
			}
			return nil
		case err != nil:
			return why(fmt.Errorf("cut after %d bytes: %w", have, err))
		}
	}
}

// contentRange reads "bytes 5-9/10": the first byte, −1 without, and the file's length, 0
// where it is not said.
func contentRange(header string) (first, total int64) {
	span, all, _ := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	total, err := strconv.ParseInt(all, 10, 64)
	if err != nil || total < 0 {
		total = 0
	}
	from, _, _ := strings.Cut(span, "-")
	if first, err = strconv.ParseInt(from, 10, 64); err != nil {
		first = -1
	}
	return first, total
}
