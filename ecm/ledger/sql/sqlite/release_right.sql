DELETE FROM rights WHERE name = :name AND fence = :fence;
