package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/zaridb/zari/internal/tests3"
)

// TestCopyS3 copies a Data.fs with blobs into a bucket, killing the copy a few times, and out again: the file is the same to the
// byte, and so are the blobs. ZARI_COPY_MB=5000 is the whole of it.
func TestCopyS3(t *testing.T) {
	needPython(t)
	needZari(t)
	megabytes := number(t, "ZARI_COPY_MB", 8)
	f := folders(t, "source", "back")
	source, back := f[0], f[1]
	cmd := exec.Command(setup.python, filepath.Join("pyclient", generate), source, strconv.Itoa(megabytes), strconv.Itoa(max(1, megabytes/4)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("generate.py: %v\n%s", err, out)
	}
	server := tests3.Start(t)
	const lease = time.Second
	url := "s3://" + server.Bucket(t) + "/db?lease=" + lease.String() + "&endpoint=" + server.Endpoint + "&blob-dir=" + t.TempDir()
	copyURL := func(from, to string, args ...string) *exec.Cmd {
		cmd := exec.Command(setup.zari, append([]string{"copy", from, to}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+tests3.AccessKey, "AWS_SECRET_ACCESS_KEY="+tests3.SecretKey)
		return cmd
	}
	for i := range number(t, "ZARI_COPY_KILLS", 3) {
		cmd := copyURL(databaseIn(source), url)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wait := 300*time.Millisecond + time.Duration(megabytes*(i+1))*5*time.Millisecond
		if i > 0 {
			wait += lease // of the one before
		}
		time.Sleep(wait)
		cmd.Process.Kill()
		t.Logf("killed copy %d: %v", i, cmd.Wait())
	}
	run := func(from, to string, args ...string) {
		t.Helper()
		began := time.Now()
		if out, err := copyURL(from, to, args...).CombinedOutput(); err != nil {
			t.Fatalf("zari copy: %v\n%s", err, out)
		}
		t.Logf("%d MB in %v", megabytes, time.Since(began).Round(time.Second))
	}
	run(databaseIn(source), url)
	run(url, databaseIn(back))
	sameBytes(t, source, back)
	if out, err := exec.Command("diff", "-rq", "-x", "tmp", filepath.Join(source, "blobs"), filepath.Join(back, "blobs")).CombinedOutput(); err != nil {
		t.Errorf("the blobs differ: %v\n%s", err, out)
	}
	if megabytes <= 300 { // Python takes long
		sameFiles(t, source, back)
	}
	run(databaseIn(source), url, "--verify", "--dry-run")
}
