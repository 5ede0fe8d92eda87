package tlsterm

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(1)
		if waited, ok := b.take(0); waited || !ok {
			t.Fatalf("take of a free slot = %v, %v", waited, ok)
		}
		var order []int // written by one at a time: whoever has the slot
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				if waited, ok := b.take(time.Minute); !waited || !ok {
					t.Errorf("take %d = %v, %v, want a wait and a slot", i, waited, ok)
				}
				order = append(order, i)
				b.release()
			})
			synctest.Wait()
		}
		all.Go(func() { // who has begun goes before them
			if !b.again(time.Minute) {
				t.Error("again gives no slot")
			}
			order = append(order, -1)
			b.release()
		})
		synctest.Wait()
		b.release()
		all.Wait()
		for i, got := range order {
			if got != i-1 {
				t.Fatalf("served in order %v, want -1, 0, 1, 2, 3, 4", order)
			}
		}
		if b.free != 1 {
			t.Errorf("%d slots free, want 1", b.free)
		}
	})
}

func TestBudgetTurnsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(2)
		b.take(0)
		b.take(0)
		const longest = 3 * time.Second
		full := queuePerSlot * 2
		var waiting sync.WaitGroup
		for range full {
			waiting.Go(func() {
				begin := time.Now()
				if _, ok := b.take(longest); ok || time.Since(begin) != longest {
					t.Errorf("take = %v after %v, want none after %v", ok, time.Since(begin), longest)
				}
			})
		}
		synctest.Wait()
		begin := time.Now()
		if waited, ok := b.take(longest); waited || ok || time.Since(begin) > 0 {
			t.Errorf("take with a full queue = %v, %v after %v, want none at once", waited, ok, time.Since(begin))
		}
		waiting.Wait()
		if b.newcomer.Len() != 0 {
			t.Errorf("%d still wait", b.newcomer.Len())
		}
		b.release()
		b.release()
		if b.free != 2 {
			t.Errorf("%d slots free, want 2", b.free)
		}
	})
}
