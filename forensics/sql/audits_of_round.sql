-- Which answers of one model were sampled for people, and where do their words lie?
-- Params: $run, $round. One row an item; of an item that was recorded twice, the later one.
SELECT
    audits.item, audits.category, audits.answer, audits.producer, audits.seq, audits.segment,
    audits.heads_offset, audits.text_offset, audits.text_bytes, events.digest
FROM audits JOIN events USING (run, producer, seq)
WHERE audits.run = $run AND audits.round = $round
QUALIFY row_number() OVER (
    PARTITION BY audits.item ORDER BY audits.seq DESC, audits.producer
) = 1
ORDER BY audits.item;
