package source
import ("testing";"time";"context";"github.com/nats-io/nats.go/jetstream")
func TestTTL(t *testing.T){
 s:=newSite(t)
 kv:=s.bucket(jetstream.KeyValueConfig{Bucket:"b", History:5, LimitMarkerTTL: time.Minute})
 ctx:=context.Background()
 kv.PutString(ctx,"p","")
 _,err:=kv.Create(ctx,"ttl",[]byte("x"),jetstream.KeyTTL(time.Second)); check(t,err)
 st,_:=s.js.Stream(ctx,"KV_b")
 for range 8 { time.Sleep(500*time.Millisecond); i,_:=st.Info(ctx); t.Log(i.State.Msgs,i.State.LastSeq, i.Config.AllowMsgTTL, i.Config.SubjectDeleteMarkerTTL)}
 m,err:=st.GetMsg(ctx,2); t.Log(m,err)
}
