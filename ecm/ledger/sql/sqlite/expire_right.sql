DELETE FROM rights WHERE name = :name AND holder = :holder;
